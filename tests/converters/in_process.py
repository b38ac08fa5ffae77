"""The conversion with the model loaded in this process: one of its own costs seconds (tests/converters/load has it)."""

from typing import Any

from edgeguard_converters.result import Conversion


def convert(*given: Any, **named: Any) -> Conversion:
    from edgeguard_converters import pipeline
    from edgeguard_converters.load.registry import load_source

    return pipeline.convert(*given, **{"load": load_source, **named})
