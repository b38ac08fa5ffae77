"""The workstation's side: a trained model becomes a defended int8 .tflite."""

from typing import Any

__all__ = ["Conversion", "Options", "convert"]


def __getattr__(name: str) -> Any:
    """Import torch and the converters only when one of the public names is used."""
    if name in __all__:
        from edgeguard_converters import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
