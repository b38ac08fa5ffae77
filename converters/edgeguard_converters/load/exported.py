"""torch.export programs (.pt2)."""

from dataclasses import replace
from pathlib import Path

import torch

from edgeguard.audio.spec import audio_input
from edgeguard.errors import InputError
from edgeguard.preprocess.dct_input import FREQUENCIES, picture_size
from edgeguard.system.foreign import parsing
from edgeguard_converters.load.evaluation_mode import into_evaluation_mode
from edgeguard_converters.load.exported_archive import FACTS_MEMBER
from edgeguard_converters.load.program import read_program
from edgeguard_converters.load.source import FileFacts, facts_from_json
from edgeguard_converters.load.torch_source import TorchSource
from edgeguard_converters.load.wrapped_graphs import unwrap_graphs


def load_exported(path: Path) -> TorchSource:
    """Load a .pt2 without ever unpickling code.

    Raises:
        PickleRefused: a pickle or another way to run code hides in the archive.
        InputError: the archive is damaged, or the program takes no image.
    """
    program, said = read_program(path)
    facts = facts_from_json(said, FACTS_MEMBER)
    if facts.audio is not None:
        return _sound(program, facts)
    coefficients = facts.color == "DCT"
    shape = _input_shape(program, (FREQUENCIES,) if coefficients else (3, 1))
    _check_batch(shape[0])
    if not coefficients and 3 not in (shape[1], shape[3]):
        facts = replace(facts, color="GRAY")
    channels_last = shape[3] in (1, 3) and shape[1] not in (1, 3)
    height, width = (shape[1], shape[2]) if channels_last else (shape[2], shape[3])
    size = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    if coefficients and size is not None:
        size = picture_size(size[1], size[0])
    # check_guards=False: guards are Python source from the file, which `.module()` would execute
    module = program.module(check_guards=False)
    with parsing("the program"):
        unwrap_graphs(module)
    facts = replace(facts, said=into_evaluation_mode(module).said)
    return TorchSource("torch.export", size, facts, module, channels_last)


def _sound(program: torch.export.ExportedProgram, facts: FileFacts) -> TorchSource:
    """A program that reads the features of sound, or the planes of their codes."""
    rows, columns, planes = audio_input(facts.audio).shape
    shape = _input_shape(program, (planes,))
    if shape[1:] != (planes, rows, columns):
        raise InputError(f"the program takes {tuple(map(str, shape[1:]))}, its sound gives {(planes, rows, columns)}")
    _check_batch(shape[0])
    module = program.module(check_guards=False)
    with parsing("the program"):
        unwrap_graphs(module)
    facts = replace(facts, color="GRAY", said=into_evaluation_mode(module).said)
    return TorchSource("torch.export", (columns, rows), facts, module, False)


def _check_batch(batch: object) -> None:
    if isinstance(batch, int) and batch > 1:
        raise InputError(
            f"the program fixes a batch of {batch} pictures; the device shows it one: export it with batch 1, or with "
            "dynamic_shapes for the batch"
        )


def _input_shape(program: torch.export.ExportedProgram, channels: tuple[int, ...]) -> tuple[object, ...]:
    names = program.graph_signature.user_inputs
    if len(names) != 1:
        raise InputError(f"the program takes {len(names)} inputs; an image model takes one")
    node = next(n for n in program.graph.nodes if n.op == "placeholder" and n.name == names[0])
    value = node.meta.get("val")
    shape = tuple(value.shape) if isinstance(value, torch.Tensor) else ()
    if len(shape) != 4 or not set(channels) & {shape[1], shape[3]}:
        what = "an image batch" if 3 in channels else "a batch of coefficients"
        raise InputError(f"the program's input is not {what}: shape {tuple(map(str, shape))}")
    return shape
