"""Keras files (.keras, .h5), written anew: layers that are on a list, and weights that lie in the file."""

import io
import json
import math
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError
from edgeguard_converters.load.archive import fresh_archive, read_archive, read_file
from edgeguard_converters.load.keras_config import checked_config
from edgeguard_converters.load.refused import PickleRefused

_MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
_KINDS = "fiub"  # of numbers in weights
_MOST_OBJECTS = 100_000
_MOST_BYTES = 1 << 33
_FILTERS = (1, 2, 3)  # of HDF5's own: deflate, shuffle, checksum; others are loaded from plug-ins
_NO_MODEL = (
    "the file holds weights without a model (no model_config): load them into the model and save it whole, "
    "model.save('model.keras')"
)
_KEPT = ("weight_names", "layer_names", "backend", "keras_version", "name")


def checked_copy(path: Path, scratch: Path) -> Path:
    """A Keras file in `scratch`, made of the parts of a stranger's that are allowed.

    Raises:
        PickleRefused: its configuration names code.
        InputError: it is damaged, or its weights lie elsewhere.
    """
    data = read_file(path)
    if data[:4] == b"PK\x03\x04":
        members = read_archive(data, path.name)
        foreign = [name for name in members if name not in _MEMBERS]
        if foreign or len(members) != len(_MEMBERS):
            raise PickleRefused(
                f"{path.name} holds {(foreign or ['too little'])[0][:80]!r}; a Keras model has three members"
            )
        config = checked_config(_json(members["config.json"]))
        metadata = {"keras_version": "3.0.0", "date_saved": "2000-01-01@00:00:00"}
        stream = fresh_archive(
            {
                "metadata.json": json.dumps(metadata).encode(),
                "config.json": json.dumps(config).encode(),
                "model.weights.h5": _fresh_weights(members["model.weights.h5"], None),
            }
        )
        fresh = scratch / "model.keras"
        fresh.write_bytes(stream.getvalue())
        return fresh
    fresh = scratch / "model.h5"
    fresh.write_bytes(_fresh_weights(data, "model_config"))
    return fresh


def _fresh_weights(data: bytes, config: str | None) -> bytes:
    """An HDF5 file with the groups and numbers of another; `config`: the attribute that holds its configuration."""
    import h5py

    target = io.BytesIO()
    try:
        with h5py.File(io.BytesIO(data), "r") as old, h5py.File(target, "w") as new:
            if config is not None:
                if config not in old.attrs:
                    raise InputError(_NO_MODEL)
                new.attrs[config] = json.dumps(checked_config(_json(_text(old.attrs[config]).encode())))
            _copy(h5py, old, new, [0, 0], 0)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, UnicodeDecodeError) as error:
        raise InputError(f"TensorFlow cannot load it: its HDF5 is damaged: {str(error)[:200]}") from error
    return target.getvalue()


def _copy(h5py: Any, old: Any, new: Any, spent: list[int], depth: int) -> None:
    """All below a group. Links to other files, data outside the file and views of other data are refused."""
    for name in _KEPT:
        if name in old.attrs:
            new.attrs[name] = _attribute(old.attrs[name])
    for name in old:
        spent[0] += 1
        if spent[0] > _MOST_OBJECTS or depth > 30:
            raise InputError("the file holds more groups than a model has; refused")
        if not isinstance(old.get(name, getlink=True), h5py.HardLink):
            raise InputError(f"the file's {name[:80]!r} is a link to elsewhere; refused")
        found = old[name]
        if isinstance(found, h5py.Group):
            _copy(h5py, found, new.create_group(name), spent, depth + 1)
        elif isinstance(found, h5py.Dataset):
            new.create_dataset(name, data=_numbers(found, name, spent))
        else:
            raise InputError(f"the file's {name[:80]!r} is neither a group nor numbers; refused")


def _numbers(found: Any, name: str, spent: list[int]) -> Any:
    size = math.prod(found.shape) * found.dtype.itemsize if found.shape is not None else 0
    spent[1] += size
    filters = found.id.get_create_plist()
    foreign = [filters.get_filter(i)[0] for i in range(filters.get_nfilters())]
    if found.external or found.is_virtual or set(foreign) - set(_FILTERS):
        raise InputError(f"the file's {name[:80]!r} lies outside the file or is packed in an unknown way; refused")
    if found.dtype.kind not in _KINDS or found.shape is None or spent[1] > _MOST_BYTES:
        raise InputError(f"the file's {name[:80]!r} holds no numbers, or too many; refused")
    if size > 1 << 20 and found.id.get_storage_size() * 1000 < size:
        raise InputError(f"the file's {name[:80]!r} claims {size} bytes that are not there; refused")
    return found[()]


def _attribute(value: Any) -> Any:
    """A text or a list of texts."""
    import numpy as np

    if isinstance(value, (str, bytes)):
        return _text(value)
    if isinstance(value, np.ndarray) and value.ndim == 1 and len(value) <= _MOST_OBJECTS:
        texts = [_text(item) for item in value] if value.size else []
        return np.array(texts, dtype="S") if texts else np.zeros(0)
    raise InputError("the file holds an attribute that is no text; refused")


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the model's configuration is not JSON: {str(error)[:200]}") from error
