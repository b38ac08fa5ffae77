"""What a model file is, by its first bytes and the names in its archive."""

import os
import re
import stat
from pathlib import Path

from edgeguard.errors import InputError
from edgeguard.system.archives import ForeignZip
from edgeguard_converters.load.archive import MOST_MEMBERS
from edgeguard_converters.load.safetensors import is_safetensors

_FOREIGN = {b"GGUF": "a GGUF file"}
_AS_ONNX = "export the model as ONNX or torch.export, with the program that it comes from"
#: Kinds of files that are known by their names and not read, and the way on.
_KNOWN_ENDINGS = {
    "saved_model.pb": ("one file of a SavedModel", "give the folder that it lies in"),
    ".pb": (
        "a frozen TensorFlow graph",
        "make a SavedModel of it (tf.compat.v1.wrap_function and tf.saved_model.save), or a float .tflite "
        "(tf.compat.v1.lite.TFLiteConverter.from_frozen_graph)",
    ),
    ".index": ("a part of a TensorFlow checkpoint, which holds weights alone", "save the model: model.save('m.keras')"),
    ".pbtxt": ("a TensorFlow graph as text", "give the SavedModel or the Keras file"),
    ".engine": ("a TensorRT engine, made for one GPU", _AS_ONNX),
    ".plan": ("a TensorRT engine, made for one GPU", _AS_ONNX),
    ".mlmodel": ("a Core ML model", _AS_ONNX),
    ".mlpackage": ("a Core ML model", _AS_ONNX),
    ".xml": ("an OpenVINO model", _AS_ONNX),
    ".param": ("an ncnn model", _AS_ONNX),
    ".pdmodel": ("a Paddle model", _AS_ONNX),
    ".caffemodel": ("weights of Caffe", _AS_ONNX),
    ".prototxt": ("a network of Caffe", _AS_ONNX),
    ".weights": ("weights of Darknet", _AS_ONNX),
    ".pte": ("an ExecuTorch program", "give the .pt2 that it was made of"),
    ".mnn": ("an MNN model", _AS_ONNX),
    ".npz": ("an archive of arrays without a network", "put them into the network and save that with torch.export"),
}
_TF_PART = re.compile(r"\.data-\d{5}-of-\d{5}$")


def model_format(path: Path, *, arch: str | None = None, onnx2tf: bool = False, weights: str | None = None) -> str:
    """`exported`, `torchscript`, `weights`, `onnx`, `keras` (a SavedModel too) or `tflite`.

    Args:
        path: of the file, or of a SavedModel folder.
        arch, onnx2tf, weights: as in `registry.load_source`; they are for one format each.

    Raises:
        InputError: missing, empty, another kind of file, or an option that is for another format.
    """
    kind = _kind(path)
    if arch not in (None, "auto") and kind != "weights":
        raise InputError(f"--arch is for a state_dict; {path} holds its own architecture")
    if weights is not None and kind != "weights":
        raise InputError(f"--weights is for a checkpoint; {path} holds one model")
    if onnx2tf and kind != "onnx":
        raise InputError(f"--onnx2tf is for .onnx files, not for {path}")
    return kind


def is_users_own(arch: str | None) -> bool:
    """True for `module:factory`, which is code of the user's; False for networks of a library."""
    return arch not in (None, "auto") and str(arch).partition(":")[0] not in ("torchvision", "timm")


def _kind(path: Path) -> str:
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "keras"
        _refuse_by_name(path)
        raise InputError(f"{path} is a folder, but no SavedModel (it holds no saved_model.pb)")
    head = _first_bytes(path, 16)
    if not head:
        raise InputError(f"{path} is empty")
    if head[4:8] == b"TFL3":
        return "tflite"
    if head[:4] == b"\x89HDF":
        return "keras"
    if is_safetensors(head):
        return "weights"
    _refuse_by_name(path)
    if path.suffix.lower() == ".onnx":  # a protobuf message has no mark to know it by
        return "onnx"
    return _sniff(path, head)


def _first_bytes(path: Path, count: int) -> bytes:
    """How a file begins. A pipe, a socket or a device, which nobody waits for, is refused."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise InputError(f"{path} is a pipe, a socket or a device: put a file there")
            return stream.read(count)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _sniff(path: Path, head: bytes) -> str:
    if head[:4] == b"PK\x03\x04":
        try:
            with ForeignZip(path, most_members=MOST_MEMBERS) as archive:
                names = [entry.filename for entry in archive.entries]
        except InputError as error:
            raise InputError(f"{path} is a truncated or damaged archive: {error}") from error
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
    if len(head) > 1 and head[0] == 0x80 and head[1] <= 5:
        return "weights"
    foreign = next((what for mark, what in _FOREIGN.items() if mark in head[:8]), None)
    raise InputError(
        f"{path} is {foreign or 'not a model that is known here'}: give a torch.export .pt2, TorchScript, a "
        "state_dict, ONNX, Keras, a SavedModel folder or a float .tflite"
    )


def _refuse_by_name(path: Path) -> None:
    """Files of other programs, which their bytes do not tell.

    Raises:
        InputError: what the file is, and the way on.
    """
    name = path.name.lower()
    if _TF_PART.search(name):
        name = ".index"
    for ending, (what, way_on) in _KNOWN_ENDINGS.items():
        if name.endswith(ending):
            raise InputError(f"{path} is {what}, which is not read: {way_on}")
