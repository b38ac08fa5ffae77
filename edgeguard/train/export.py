"""A trained network as a torch.export program that says what `convert` needs to know."""

import copy
import io
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import torch
from msgspec import Meta
from torch import nn

from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import DeviceError, InputError
from edgeguard.preprocess.dct_input import BIAS, tensor_shape
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import foreign_json, of_type, parsing
from edgeguard.train.codec_network import MEAN, STD
from edgeguard.train.coefficient_net import CoefficientNet
from edgeguard.train.layers import in_layout
from edgeguard.train.trial import try_program
from edgeguard.train.weight_quantization import with_plain_weights
from edgeguard_converters.load.archive import read_file, read_one_member
from edgeguard_converters.load.exported_archive import FACTS_MEMBER
from edgeguard_converters.load.program import read_program

_LARGEST_FACTS = 16 << 20  # bytes
_Labels = Annotated[list[str], Meta(max_length=65536)]


def save_program(
    network: nn.Module,
    path: Path,
    *,
    size: int,
    labels: tuple[str, ...],
    profile: GuardProfile | None,
    trained: dict[str, Any] | None = None,
    origin: dict[str, str] | None = None,
    crop_fraction: float = 1.0,
    patch_px: int | None = None,
) -> None:
    """Write a .pt2 whose `edgeguard.json` names preprocessing, labels, and the profile that it was trained on.

    Args:
        network: normalised (n, 3, size, size), or coefficients, to logits.
        path: of the .pt2.
        size: side of the input.
        labels: class names.
        profile: the one profile that every training image went through, or None.
        trained: how it was trained, for people.
        origin: `training_data_sha256` and `training_config_sha256` of the contract.
        crop_fraction: of the centre crop in front of the resize.
        patch_px: of a network of regions: the square that it was trained against, pixels of the input.
    """
    coefficients = isinstance(network, CoefficientNet)
    mean, std = (BIAS, 1.0) if coefficients else (MEAN, STD)
    facts = {
        "preprocess": {"mean": [mean] * 3, "std": [std] * 3, "crop": "center", "crop_fraction": crop_fraction},
        **({"color": "DCT"} if coefficients else {}),
        "labels": labels,
        "size": [size, size],
        "trained_on_profile": None if profile is None else profile.sha256,
        **({} if trained is None else {"trained": trained}),
        **({} if patch_px is None else {"patch_certificate": {"patch_px": patch_px}}),
        **(origin or {}),
    }
    plain = network.folded() if isinstance(network, CoefficientNet) else copy.deepcopy(network).eval()
    plain = in_layout(with_plain_weights(plain).to("cpu"), torch.contiguous_format)
    rows, columns, channels = tensor_shape(size, size) if coefficients else (size, size, 3)
    write_program(plain, path, example=torch.zeros(2, channels, rows, columns), facts=facts)


def write_program(plain: nn.Module, path: Path, *, example: torch.Tensor, facts: dict[str, Any]) -> None:
    """Write a .pt2 with any number of inputs at a time, and `facts` as its `edgeguard.json`.

    Args:
        plain: in evaluation mode, its weights plain ones.
        path: of the .pt2.
        example: an input of two.
        facts: what `convert` needs to know.
    """
    batch = torch.export.Dim("batch", min=1, max=4096)
    with _without_warnings():
        program = torch.export.export(plain, (example,), dynamic_shapes=({0: batch},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of the machine that exported it
    stream = io.BytesIO()  # not the file: of a full disk torch says that its own file is odd
    with _without_warnings():
        torch.export.save(program, stream, extra_files={"edgeguard.json": json.dumps(facts)})
    write_bytes(path, stream.getvalue())


def load_program(path: Path, size: int | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """A .pt2 to fine-tune, and its `edgeguard.json` (empty where it has none). The file may be a stranger's.

    Args:
        path: of the .pt2; it is read once.
        size: of the pictures that it is first tried with in a confined process, pixels; None: it is not tried.

    Raises:
        InputError: it is no torch.export program, holds what is not allowed, or breaks the process that tries it.
    """
    try:
        data = read_file(path)
        if size is not None:
            try_program(data, path.name, size)
        with _without_warnings():
            program, facts = read_program(path, data)
            module = program.module(check_guards=False)  # guards are source, which torch would execute
    except (InputError, OSError) as error:
        raise InputError(f"{path} cannot be read as a torch.export program: {error}") from error
    except DeviceError:
        raise
    except Exception as error:
        raise InputError(f"{path} cannot be read as a torch.export program ({type(error).__name__})") from error
    return module, facts


def program_facts(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The `edgeguard.json` of a .pt2 that we wrote, and the labels in it; its program is not loaded.

    Raises:
        InputError: it is no archive, or what it says is no JSON object with a list of names.
    """
    data = read_one_member(path, FACTS_MEMBER, _LARGEST_FACTS)
    with parsing(f"what {path} says of itself"):
        facts = of_type(dict[str, Any], {} if data is None else foreign_json(data))
        return facts, tuple(of_type(_Labels, facts.get("labels")))


@contextmanager
def _without_warnings() -> Iterator[None]:
    """torch warns of its own future here, which users can do nothing about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
