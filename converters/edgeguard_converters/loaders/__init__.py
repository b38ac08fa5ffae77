"""What `model.pt` can be: one small loader for each kind, chosen by looking into the file, never by unpickling it."""

import zipfile
from pathlib import Path

from edgeguard.errors import InputError
from edgeguard.quiet import muted
from edgeguard_converters.loaders.exported import load_exported
from edgeguard_converters.loaders.pickle_guard import PickleRefused
from edgeguard_converters.loaders.pickled import load_pickled
from edgeguard_converters.loaders.source import FileFacts, Source, facts_from_sidecar, merge_facts
from edgeguard_converters.loaders.state_dict import load_state_dict
from edgeguard_converters.loaders.torchscript import load_torchscript

__all__ = ["FileFacts", "Source", "load_source"]

_FOREIGN = {b"TFL3": "already a .tflite", b"\x89HDF": "a Keras/HDF5 file", b"GGUF": "a GGUF file"}


def load_source(
    path: Path, *, arch: str | None = None, size: tuple[int, int] | None = None, trust_pickle: bool = False
) -> Source:
    """Load a trained torch model: torch.export .pt2, TorchScript, or a state_dict with `arch`.

    With `trust_pickle` also a pickled module, whose file runs its code as it is loaded.

    Raises:
        InputError: missing, empty, another kind of file, damaged, or dangerous to load.
    """
    try:
        head = path.open("rb").read(16)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if not head:
        raise InputError(f"{path} is empty")
    kind = _sniff(path, head)
    try:
        with muted():  # torch warns of its own internals
            if kind == "exported":
                source = load_exported(path)
            elif kind == "torchscript":
                source = load_torchscript(path, size or facts_from_sidecar(path).size)
            else:
                source = _load_weights(path, arch, size, trust_pickle)
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is a damaged archive: {error}") from error
    facts = merge_facts(source.facts, facts_from_sidecar(path))
    return Source(source.kind, source.module, source.size or facts.size, source.channels_last, facts)


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
        if any(name.endswith("data.pkl") for name in names):
            return "weights"
        raise InputError(f"{path} is a zip archive, but not of a torch model")
    if head[:1] == b"\x80" and head[1] <= 5:
        return "weights"
    foreign = next((what for mark, what in _FOREIGN.items() if mark in head[:8]), None)
    raise InputError(
        f"{path} is {foreign or 'not a torch model'}: give a torch.export .pt2, TorchScript, or a state_dict"
    )
