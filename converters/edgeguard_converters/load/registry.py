"""What `model.pt` can be: one small loader for each kind, chosen by looking into the file, never by unpickling it."""

import zipfile
from dataclasses import replace
from pathlib import Path

from edgeguard.errors import InputError
from edgeguard.system.files import sha256_file
from edgeguard.system.redirect import muted
from edgeguard_converters.load.exported import load_exported
from edgeguard_converters.load.keras import load_keras
from edgeguard_converters.load.onnx import load_onnx
from edgeguard_converters.load.onnx2tf import load_with_onnx2tf
from edgeguard_converters.load.pickle_guard import PickleRefused
from edgeguard_converters.load.pickled import load_pickled
from edgeguard_converters.load.source import FileFacts, Source, facts_from_sidecar, merge_facts
from edgeguard_converters.load.state_dict import load_state_dict
from edgeguard_converters.load.tflite import load_tflite
from edgeguard_converters.load.torchscript import load_torchscript

__all__ = ["FileFacts", "Source", "load_source"]

_FOREIGN = {b"GGUF": "a GGUF file"}


def load_source(
    path: Path,
    *,
    arch: str | None = None,
    size: tuple[int, int] | None = None,
    trust_pickle: bool = False,
    onnx2tf: bool = False,
) -> Source:
    """Load a trained model.

    Args:
        path: torch.export .pt2, TorchScript, a state_dict, ONNX, Keras, a SavedModel folder, or a float .tflite.
        arch: `module:factory` that makes the torch module of a state_dict.
        size: width and height of the input, where the file does not fix it.
        trust_pickle: load a pickled module too; its file runs its code as it is loaded.
        onnx2tf: take ONNX through onnx2tf, which is installed into an environment of its own.

    Returns:
        The source, with the facts of the file and of the JSON beside it.

    Raises:
        InputError: missing, empty, another kind of file, damaged, or dangerous to load.
    """
    kind = _kind(path)
    if arch is not None and kind != "weights":
        raise InputError(f"--arch is for a state_dict; {path} holds its own architecture")
    if onnx2tf and kind != "onnx":
        raise InputError(f"--onnx2tf is for .onnx files, not for {path}")
    try:
        source: Source
        with muted():  # torch warns of its own internals
            if kind == "exported":
                source = load_exported(path)
            elif kind == "torchscript":
                source = load_torchscript(path, size or facts_from_sidecar(path).size)
            elif kind == "tflite":
                source = load_tflite(path)
            elif kind == "onnx":
                known = size or facts_from_sidecar(path).size
                source = load_with_onnx2tf(path, known) if onnx2tf else load_onnx(path, known)
            elif kind == "keras":
                source = load_keras(path, size or facts_from_sidecar(path).size)
            else:
                source = _load_weights(path, arch, size, trust_pickle)
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is a damaged archive: {error}") from error
    facts = merge_facts(source.facts, facts_from_sidecar(path))
    sha256 = sha256_file(path) if path.is_file() else None
    return replace(source, size=source.size or facts.size, facts=replace(facts, sha256=sha256))


def _kind(path: Path) -> str:
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "keras"
        raise InputError(f"{path} is a folder, but no SavedModel (it holds no saved_model.pb)")
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if not head:
        raise InputError(f"{path} is empty")
    if head[4:8] == b"TFL3":
        return "tflite"
    if head[:4] == b"\x89HDF":
        return "keras"
    if path.suffix.lower() == ".onnx":  # a protobuf message has no mark to know it by
        return "onnx"
    return _sniff(path, head)


def _load_weights(path: Path, arch: str | None, size: tuple[int, int] | None, trust_pickle: bool) -> Source:
    try:
        return load_state_dict(path, arch, size)
    except PickleRefused:
        if not trust_pickle:
            raise
        return load_pickled(path, size)


def _sniff(path: Path, head: bytes) -> str:
    if head[:4] == b"PK\x03\x04":
        try:
            names = zipfile.ZipFile(path).namelist()
        except zipfile.BadZipFile as error:
            raise InputError(f"{path} is a truncated or damaged archive") from error
        if any(name.endswith(("archive_format", "models/model.json")) for name in names):
            return "exported"
        if any(name.endswith("serialized_exported_program.json") for name in names):
            raise InputError(f"{path} was exported by an old torch: export it again with torch >= 2.9")
        if any("/code/" in f"/{name}" for name in names):
            return "torchscript"
        if {"config.json", "model.weights.h5"} <= set(names):
            return "keras"
        if any(name.endswith("data.pkl") for name in names):
            return "weights"
        raise InputError(f"{path} is a zip archive, but not of a torch or Keras model")
    if head[:1] == b"\x80" and head[1] <= 5:
        return "weights"
    foreign = next((what for mark, what in _FOREIGN.items() if mark in head[:8]), None)
    raise InputError(
        f"{path} is {foreign or 'not a model that is known here'}: give a torch.export .pt2, TorchScript, a "
        "state_dict, ONNX, Keras, a SavedModel folder or a float .tflite"
    )
