"""Relatives of public advisories on torch, Keras, HDF5, ONNX, protobuf, zip and flatbuffers: one small file for each.

Each has the property that an advisory names; none is the file of an advisory. docs/advisories.md lists them.
"""

import io
import json
import pickle
import re
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from converters.load import hostile_others as others
from converters.load.hostile_base import Bomb, Hostile, Make, members, saved, write


def _one_tensor(change: Callable[[bytes], bytes], folder: Path, flag: Path) -> Path:
    """A checkpoint of one tensor of four numbers, whose pickle is changed."""
    found = members(saved({"w": torch.arange(4.0)}))
    name = next(name for name in found if name.endswith("data.pkl"))
    changed = change(found[name])
    assert changed != found[name]
    return write(folder / "w.pt", {**found, name: changed})


def _bare_tensor(more: bytes, folder: Path, flag: Path) -> Path:
    """A pickle that makes a tensor, and then does something to it."""
    found = members(saved(torch.arange(4.0)))
    name = next(name for name in found if name.endswith("data.pkl"))
    return write(folder / "w.pt", {**found, name: found[name][:-1] + more + b"."})


def _geometry(offset: bytes, size: bytes, stride: bytes, program: bytes) -> bytes:
    """The tensor's offset, size and stride; BININT2 where one byte is not enough."""
    return re.sub(rb"K\x00K\x04\x85(q.)K\x01\x85", lambda m: offset + size + b"\x85" + m[1] + stride + b"\x85", program)


def _tar(folder: Path, flag: Path) -> Path:
    """The oldest form of a checkpoint: a tar of pickles."""
    with tarfile.open(folder / "w.pt", "w") as archive:
        for name, data in (
            ("sys_info", pickle.dumps({"protocol_version": 1000, "little_endian": True})),
            ("pickle", pickle.dumps(Bomb(flag))),
            ("storages", pickle.dumps(0)),
            ("tensors", pickle.dumps(0)),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return folder / "w.pt"


def _in_front(folder: Path, flag: Path) -> Path:
    """A pickle, with a good archive behind it: two readers see two files."""
    good = saved({"w": torch.arange(4.0)})
    (folder / "w.pt").write_bytes(pickle.dumps(Bomb(flag)) + good)
    return folder / "w.pt"


def _package(folder: Path, flag: Path) -> Path:
    """The members of a torch.package: source that its importer runs."""
    source = f"open({str(flag)!r}, 'w')\n".encode()
    found = {".data/version": b"6\n", ".data/python_version": b"3.11", ".data/extern_modules": b"", "m.py": source}
    found |= {"models/model.pkl": b"\x80\x03cm\nModel\n)R."}
    return write(folder / "evil.pt", {f"archive/{name}": data for name, data in found.items()})


def _reshaped(offset: bytes = b"K\x00", size: bytes = b"K\x04", stride: bytes = b"K\x01") -> Make:
    return partial(_one_tensor, partial(_geometry, offset, size, stride))


def _sparse(folder: Path, flag: Path) -> Path:
    tensor = torch.sparse_coo_tensor(torch.tensor([[10**9]]), torch.ones(1), (4,), check_invariants=False)
    (folder / "w.pt").write_bytes(saved({"w": tensor}))
    return folder / "w.pt"


TORCH: list[Hostile] = [
    ("checkpoint in a tar", "pickle", _tar),
    ("pickle in front of an archive", "archive twice", _in_front),
    ("torch.package", "compiled code", _package),
    ("item of a tensor", "pickle", partial(_bare_tensor, b"K\x01K\x02s")),
    ("items of a tensor", "pickle", partial(_bare_tensor, b"(K\x01K\x02u")),
    ("tensor that is appended to", "pickle", partial(_bare_tensor, b"K\x01a")),
    ("tensor with a state", "pickle", partial(_bare_tensor, b"}X\x04\x00\x00\x00dataNsb")),
    ("tensor before its bytes", "size", _reshaped(offset=b"J\xf0\xff\xff\xff")),
    ("tensor behind its bytes", "size", _reshaped(offset=b"M\x00\x10")),
    ("tensor that runs backwards", "size", _reshaped(stride=b"J\xff\xff\xff\xff")),
    ("tensor with wide steps", "size", _reshaped(stride=b"M\x00\x10")),
    ("negative size", "size", _reshaped(size=b"J\xfc\xff\xff\xff")),
    ("sparse tensor", "pickle", _sparse),
]  # fmt: skip


def _config(config: dict[str, Any], folder: Path, flag: Path) -> Path:
    """A Keras file with a configuration of its own."""
    return _archive({"config.json": json.dumps(config).encode(), "model.weights.h5": others._h5()}, folder, flag)


def _one_layer(name: str, module: str = "keras.layers", **config: Any) -> Make:
    return partial(_config, others._layer(others._odd(name, module, **config)))


def _archive(changed: dict[str, bytes], folder: Path, flag: Path) -> Path:
    metadata = b'{"keras_version": "3.15.1", "date_saved": "2026-11-29@04:08:47"}'
    found = {"metadata.json": metadata, "config.json": json.dumps(others._layer(others._FLATTEN)).encode(), **changed}
    with zipfile.ZipFile(folder / "evil.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in found.items():
            archive.writestr(name, data)
    return folder / "evil.keras"


def _deep(folder: Path, flag: Path) -> Path:
    text = '{"x":' * 20_000 + "1" + "}" * 20_000
    return _archive({"config.json": text.encode(), "model.weights.h5": others._h5()}, folder, flag)


def _inner(layer: dict[str, Any]) -> dict[str, Any]:
    """Inside a wrapper, inside a model of its own."""
    return others._layer(others._layer(others._odd("TimeDistributed", "keras.layers", layer=layer)))


def _circle(file: Any) -> None:
    group = file.create_group("model_weights")
    group["again"] = group


def _link_in_the_middle(file: Any) -> None:
    """The names of layers lead through a link, which a look at the last part of a path does not show."""
    import h5py

    group = file.create_group("model_weights")
    group.attrs["layer_names"] = [b"far/kernel"]
    group["far"] = h5py.ExternalLink("/etc/passwd", "/x")


def _plugin(file: Any) -> None:
    """Data behind a filter that HDF5 would load from a folder of plug-ins."""
    import h5py
    import numpy as np

    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((4,))
    settings.set_filter(32001, h5py.h5z.FLAG_OPTIONAL)
    h5py.h5d.create(file.id, b"w", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)), settings)
    file["w"][:] = np.ones(4, np.float32)


def _references(file: Any) -> None:
    import h5py

    file.create_dataset("w", (2,), h5py.ref_dtype)


def _texts(file: Any) -> None:
    import h5py

    file.create_dataset("w", (2,), h5py.string_dtype())


def _names_without_end(file: Any) -> None:
    import numpy as np

    file.create_group("model_weights").attrs["weight_names"] = np.ones((4, 4), np.float32)


KERAS: list[Hostile] = [
    (
        "Lambda in a wrapper", "keras code",
        partial(_config, _inner(others._odd("Lambda", "keras.layers", function="f"))),
    ),
    ("eval of builtins", "keras import", _one_layer("eval", "builtins", source="1")),
    ("initializer of os", "keras import", _one_layer("Dense", kernel_initializer=others._odd("Ones", "os"))),
    ("TextVectorization", "keras file", _one_layer("TextVectorization", vocabulary="/etc/passwd")),
    ("IntegerLookup", "keras file", _one_layer("IntegerLookup", vocabulary="gs://x/y")),
    ("nested configuration", "size", _deep),
    ("weights as npz", "keras file", partial(_archive, {"model.weights.npz": b"PK\x05\x06" + bytes(18)})),
    ("packed zeros in a Keras file", "archive bomb", partial(_archive, {"model.weights.h5": bytes(64 << 20)})),
    ("h5 circle", "hdf5", partial(others._keras_h5, _circle, others._FLATTEN)),
    ("h5 link in the middle", "hdf5", partial(others._keras_h5, _link_in_the_middle, others._FLATTEN)),
    ("h5 plug-in", "hdf5", partial(others._keras_h5, _plugin, others._FLATTEN)),
    ("h5 references", "hdf5", partial(others._keras_h5, _references, others._FLATTEN)),
    ("h5 texts for weights", "hdf5", partial(others._keras_h5, _texts, others._FLATTEN)),
    ("h5 names that are numbers", "hdf5", partial(others._keras_h5, _names_without_end, others._FLATTEN)),
]  # fmt: skip


def _external(entries: dict[str, str], model: Any, flag: Path) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)


def _twice(model: Any, flag: Path) -> None:
    """Weights in two fields: readers differ in which one they take."""
    model.graph.initializer[0].float_data.extend([1.0] * 4)


def _texts_as_weights(model: Any, flag: Path) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_type = 8
    tensor.string_data.append(b"x")


def _negative(model: Any, flag: Path) -> None:
    model.graph.initializer[0].dims[0] = -1


def _as_field(number: int, data: bytes) -> bytes:
    """One length-delimited field of a protobuf."""
    size, length = len(data), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + data


def _nested(fields: tuple[int, ...], outer: tuple[int, ...], folder: Path, flag: Path) -> Path:
    """A model in which a message holds itself 4,000 times; fields lead from a message to the next one inside it."""
    data = b""
    for _ in range(4000):
        for number in fields:
            data = _as_field(number, data)
    for number in outer:
        data = _as_field(number, data)
    path = others._onnx(lambda model, flag: None, folder, flag)
    path.write_bytes(path.read_bytes() + data)
    return path


ONNX: list[Hostile] = [
    ("external weights without a place", "onnx external", partial(others._onnx, partial(_external, {"length": "4"}))),
    (
        "external weights with a key of Python's", "onnx external",
        partial(others._onnx, partial(_external, {"location": "w", "__class__": "x", "basepath": "/"})),
    ),
    (
        "external weights of 2^63 bytes", "onnx external",
        partial(others._onnx, partial(_external, {"location": "w", "offset": str(1 << 62), "length": str(1 << 63)})),
    ),
    ("weights in two fields", "size", partial(others._onnx, _twice)),
    ("texts for weights", "size", partial(others._onnx, _texts_as_weights)),
    ("negative dimension", "size", partial(others._onnx, _negative)),
    ("graphs in graphs", "size", partial(_nested, (6, 5, 1), (7,))),
    ("types in types", "size", partial(_nested, (1, 4), (2, 11, 7))),
]  # fmt: skip


def _sparsity(model: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    model.subgraphs[0].tensors[1].sparsity = schema.SparsityParametersT()


def _elsewhere(offset: int, model: Any) -> None:
    model.buffers[1].data, model.buffers[1].offset, model.buffers[1].size = None, offset, 48


def _signature(model: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    named, signature = schema.TensorMapT(), schema.SignatureDefT()
    named.name, named.tensorIndex = b"x", 1 << 30
    signature.inputs = signature.outputs = [named]
    signature.signatureKey, signature.subgraphIndex = b"s", 1 << 20
    model.signatureDefs = [signature]


def _quantized(axis: int, scales: int, model: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    found = schema.QuantizationParametersT()
    found.scale, found.zeroPoint, found.quantizedDimension = [1.0] * scales, [0] * scales, axis
    model.subgraphs[0].tensors[1].quantization = found


def _other_options(model: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    operator = model.subgraphs[0].operators[0]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()


def _changed(path: str, value: Any) -> Make:
    return partial(others._tflite, partial(others._set, path, value))


TFLITE: list[Hostile] = [
    ("sparsity without a map", "tflite index", partial(others._tflite, _sparsity)),
    ("constant far behind the file", "tflite index", partial(others._tflite, partial(_elsewhere, 1 << 40))),
    ("constant at the file's own head", "tflite index", partial(others._tflite, partial(_elsewhere, 4))),
    ("signature of tensors that are not there", "tflite index", partial(others._tflite, _signature)),
    ("side of 2^31 - 1", "size", _changed("tensors.3.shape", [1, (1 << 31) - 1, 2, 4])),
    ("intermediates that are not there", "tflite index", _changed("operators.0.intermediates", [99])),
    ("scales along an axis that is not there", "tflite index", partial(others._tflite, partial(_quantized, 99, 4))),
    ("more scales than channels", "tflite index", partial(others._tflite, partial(_quantized, 0, 4000))),
    ("options of another operator", "tflite operator", partial(others._tflite, _other_options)),
]
