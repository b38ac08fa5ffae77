"""What `model.pt` can be: one small loader for each kind, chosen by looking into the file, never by unpickling it."""

import zipfile
from dataclasses import replace
from pathlib import Path

from edgeguard.errors import InputError
from edgeguard.system.files import sha256_file
from edgeguard.system.names import with_a_name
from edgeguard.system.redirect import muted
from edgeguard_converters.load.exported import load_exported
from edgeguard_converters.load.formats import model_format
from edgeguard_converters.load.keras import load_keras
from edgeguard_converters.load.onnx import load_onnx
from edgeguard_converters.load.onnx2tf import load_with_onnx2tf
from edgeguard_converters.load.pickled import load_pickled
from edgeguard_converters.load.refused import PickleRefused
from edgeguard_converters.load.source import FileFacts, Source, facts_from_sidecar, merge_facts
from edgeguard_converters.load.state_dict import load_state_dict
from edgeguard_converters.load.tflite import load_tflite
from edgeguard_converters.load.torchscript import load_torchscript

__all__ = ["FileFacts", "Source", "load_alone", "load_source"]


def load_source(
    path: Path,
    *,
    arch: str | None = None,
    size: tuple[int, int] | None = None,
    trust_pickle: bool = False,
    onnx2tf: bool = False,
    weights: str | None = None,
) -> Source:
    """Load a trained model.

    Args:
        path: torch.export .pt2, TorchScript, a checkpoint, .safetensors, ONNX, Keras, a SavedModel folder, or a float
            .tflite.
        arch: of a state_dict: None or `auto` (known by names and shapes), `torchvision:NAME`, `timm:NAME`, or the
            user's own `module:factory`.
        size: width and height of the input, where the file does not fix it.
        trust_pickle: load a pickled module too; its file runs its code as it is loaded.
        weights: the container of a checkpoint to take, where it holds several.
        onnx2tf: take ONNX through onnx2tf, which is installed into an environment of its own.

    Returns:
        The source, with the facts of the file and of the JSON beside it.

    Raises:
        InputError: missing, empty, another kind of file, damaged, or dangerous to load.
    """
    sidecar = facts_from_sidecar(with_a_name(path).with_suffix(".json"))
    known = size or sidecar.size
    source = load_alone(
        path, arch=arch, size=size, known=known, trust_pickle=trust_pickle, onnx2tf=onnx2tf, weights=weights
    )
    facts = merge_facts(source.facts, sidecar)
    sha256 = sha256_file(path) if path.is_file() else None
    return replace(source, size=source.size or facts.size, facts=replace(facts, sha256=sha256))


def load_alone(
    path: Path,
    *,
    arch: str | None = None,
    size: tuple[int, int] | None = None,
    known: tuple[int, int] | None = None,
    trust_pickle: bool = False,
    onnx2tf: bool = False,
    weights: str | None = None,
) -> Source:
    """As `load_source`, without the JSON beside the model: a confined process reads the model's own files alone.

    Args:
        known: the size for formats that hold none: what was given, else what the JSON beside the model says.
    """
    kind = model_format(path, arch=arch, onnx2tf=onnx2tf, weights=weights)
    known = known or size
    try:
        with muted():  # torch warns of its own internals
            if kind == "exported":
                return load_exported(path)
            if kind == "torchscript":
                return load_torchscript(path, known)
            if kind == "tflite":
                return load_tflite(path)
            if kind == "onnx":
                return load_with_onnx2tf(path, known) if onnx2tf else load_onnx(path, known)
            if kind == "keras":
                return load_keras(path, known)
            return _load_weights(path, arch, size, trust_pickle, weights)
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is a damaged archive: {error}") from error


def _load_weights(
    path: Path, arch: str | None, size: tuple[int, int] | None, trust_pickle: bool, wanted: str | None
) -> Source:
    try:
        return load_state_dict(path, arch, size, wanted)
    except PickleRefused:
        if not trust_pickle:
            raise
        return load_pickled(path, size)
