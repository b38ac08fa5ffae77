"""Which weights of a checkpoint are meant: a rule for what training loops put beside and around them.

A checkpoint may hold the weights bare, below one of the usual names, twice (an average beside the last step's), with a
prefix before every name, and among objects of any class. Each choice is made by a rule and said.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeguard.errors import InputError
from edgeguard_converters.load.pickle_records import Name, Stub, Tensor, Unusable
from edgeguard_converters.load.refused import PickleRefused

#: Names of containers, best first: averaged weights are what their training loops evaluate and publish.
_AVERAGED = ("state_dict_ema", "model_state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema",
             "averaged_model", "swa_model", "swa_state_dict")  # fmt: skip
_PLAIN = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "net_state_dict",
          "weights", "params", "parameters", "student", "backbone", "classifier")  # fmt: skip
_PREFERRED = (*_AVERAGED, *_PLAIN)
_NO_MODEL = re.compile(
    r"optim|sched|scaler|callback|loop|hparam|hyper|rng|history|criterion|loss|discriminator|teacher"
)
_DEEPEST = 3
_MOST_PLACES = 10_000  # that are looked at; a container that is shared counts in each place
#: Parts of names that wrappers put in, at any depth.
_WRAPPERS = re.compile(r"(?<![^.])(module|_orig_mod|_forward_module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_PREFIXES = ("module.", "model.", "net.", "network.", "_model.", "student.", "backbone.", "classifier.", "encoder.")
#: Counters that tools leave among the weights.
_COUNTERS = re.compile(r"(.*\.)?(total_ops|total_params|n_averaged)")
_PLAIN_KINDS = ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")
_NARROW = ("float16", "bfloat16", "float64")
_COMPILED = "torch._dynamo.eval_frame OptimizedModule"
#: Modules around the model, and the name of the module within.
_MODULES_AROUND = {
    "torch.nn.parallel.data_parallel DataParallel": "module",
    "torch.nn.parallel.distributed DistributedDataParallel": "module",
    _COMPILED: "_orig_mod",
    "torch.optim.swa_utils AveragedModel": "module",
    "timm.utils.model_ema ModelEmaV2": "module",
    "timm.utils.model_ema ModelEmaV3": "module",
}


@dataclass(frozen=True, eq=False)
class Found:
    """What of a checkpoint is to be converted.

    Attributes:
        weights: by name; or None, where a whole module was saved.
        module: the record of that module, or None.
        said: lines for the user: which of several, what was left behind.
    """

    weights: dict[str, Tensor] | None
    module: Stub | None
    said: tuple[str, ...]


def find_weights(checkpoint: Any, name: str, wanted: str | None = None) -> Found:
    """Choose the weights of a checkpoint.

    Args:
        checkpoint: from `read_checkpoint`.
        name: of the file, for messages.
        wanted: `--weights`: the container to take, as it is named here (`model`, `ema.module`).

    Raises:
        PickleRefused: objects of the file's own classes, and no weights beside them.
        InputError: there are no weights, or the rule cannot choose.
    """
    places = dict(_places(checkpoint, "", [_MOST_PLACES], name))
    if wanted is not None:
        if wanted not in places:
            raise InputError(f"{name} holds no weights named {wanted!r}; it holds: {_listed(places) or 'none'}")
        chosen = wanted
    else:
        chosen = _choose(places, checkpoint, name)
    others = [place for place in places if place != chosen and not place.startswith(f"{chosen}.")]
    said = []
    if chosen:
        said.append(f"the weights below {chosen!r} of {name} are taken")
    if others:
        said.append(f"it also holds {_listed(dict.fromkeys(others))}: --weights NAME takes another")
    found = places[chosen]
    if isinstance(found, Stub):
        return Found(None, found, tuple(said))
    weights, more = _plain(found, name)
    return Found(weights, None, (*said, *more))


def is_module(value: Any) -> bool:
    """True for the record of a torch module, which is known by what torch's base class keeps."""
    if not isinstance(value, Stub):
        return False
    return (isinstance(value.state, dict) and "_modules" in value.state) or _compiled(value) is not None


def unwrapped(record: Stub) -> tuple[Stub, list[str]]:
    """A module without the wrappers around it (DataParallel, torch.compile, averaging), and lines for the user."""
    said = []
    while record.qualified in _MODULES_AROUND:
        state = record.state if isinstance(record.state, dict) else {}
        inner: Any = _compiled(record) or dict(state.get("_modules") or {}).get(_MODULES_AROUND[record.qualified])
        if not is_module(inner):
            break
        said.append(f"the {record.qualified.partition(' ')[2]} around the model was taken off")
        record = inner
    return record, said


def _compiled(value: Stub) -> Stub | None:
    """The module within what torch.compile made, which is pickled as a call with that module."""
    if value.qualified != _COMPILED or not value.given or not is_module(value.given[0]):
        return None
    found: Stub = value.given[0]
    return found


def without_prefixes(names: list[str]) -> tuple[dict[str, str], list[str]]:
    """Names without what wrappers put before them.

    Returns:
        The shorter name of each, and lines for the user.

    Example:
        >>> without_prefixes(["module.model.fc.weight", "module.model.fc.bias"])[0]["module.model.fc.bias"]
        'fc.bias'
    """
    kept = {name: _WRAPPERS.sub("", name) for name in names}
    if len(set(kept.values())) != len(names):
        kept = {name: name for name in names}
    removed = sorted({match.group(0) for name in names if kept[name] != name for match in _WRAPPERS.finditer(name)})
    while True:
        prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in kept.values())), None)
        if prefix is None or not kept:
            break
        removed.append(prefix)
        kept = {name: short.removeprefix(prefix) for name, short in kept.items()}
    said = [f"{', '.join(removed)} was removed from the names of the weights"] if removed else []
    return kept, said


def below_prefix(names: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Parts of the weights that may be the model alone: those below one of the usual prefixes, and their names."""
    for prefix in _PREFIXES:
        part = {name: name.removeprefix(prefix) for name in names if name.startswith(prefix)}
        if part and len(part) < len(names):
            yield prefix, part


def _places(value: Any, at: str, left: list[int], name: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Everything that may be weights, by its name: dictionaries that hold tensors, and modules."""
    left[0] -= 1
    if left[0] < 0:
        raise InputError(f"{name} holds too many containers within each other: save the state_dict alone")
    if is_module(value):
        yield at, value
        return
    if not isinstance(value, dict) or depth > _DEEPEST:
        return
    if _is_state(value):
        yield at, value
        return
    for key, inner in value.items():
        if isinstance(inner, (dict, Stub)) and isinstance(key, str) and not _NO_MODEL.search(key.lower()):
            yield from _places(inner, f"{at}.{key}" if at else key, left, name, depth + 1)


def _is_state(value: Mapping[Any, Any]) -> bool:
    tensors = sum(_is_tensor(found) for found in value.values())
    return tensors > 0 and 2 * tensors >= len(value) and all(isinstance(key, str) for key in value)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor | Unusable) or _is_array(value)


def _choose(places: Mapping[str, Any], checkpoint: Any, name: str) -> str:
    if not places:
        raise _nothing(checkpoint, name)
    if len(places) == 1 or "" in places:
        return "" if "" in places else next(iter(places))
    for wanted in _PREFERRED:
        for place in places:
            if place.split(".")[0].lower() == wanted or place.lower() == wanted:
                return place
    raise InputError(f"{name} holds several sets of weights: {_listed(places)}; give --weights NAME")


def _nothing(checkpoint: Any, name: str) -> InputError:
    named = sorted(_classes(checkpoint))
    if named:
        shown = ", ".join(named[:3])
        return PickleRefused(
            f"{name} is a pickled Python object ({shown}) without weights that can be read; loading it would run its "
            "code, so it is refused: save a torch.export program, or its state_dict (or say --trust-pickle if you "
            "made the file yourself)"
        )
    return InputError(f"{name} holds no state_dict (a dictionary of tensors)")


def _classes(checkpoint: Any) -> set[str]:
    """Names of the classes of objects in a checkpoint's outer containers."""
    named: set[str] = set()
    level = [checkpoint]
    for _ in range(_DEEPEST + 2):
        named |= {value.qualified.replace(" ", ".") for value in level if isinstance(value, Stub)}
        held = [value.values() if isinstance(value, dict) else value for value in level
                if isinstance(value, (dict, list, tuple))]  # fmt: skip
        level = list({id(one): one for inner in held for one in inner}.values())  # what is shared is looked at once
    return named


def _plain(found: Mapping[str, Any], name: str) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a state_dict, those of other kinds refused or said."""
    weights: dict[str, Tensor] = {}
    left, narrow = [], set()
    for key, value in found.items():
        tensor = _array(value) if _is_array(value) else value
        if isinstance(tensor, Unusable) or (isinstance(tensor, Tensor) and tensor.kind not in _PLAIN_KINDS):
            kind = tensor.why if isinstance(tensor, Unusable) else tensor.kind
            kind = "quantized" if "qint" in kind or "quint" in kind else kind
            raise InputError(
                f"{name}: the weight {key[:80]!r} is {kind}: save the float model's state_dict "
                "(plain float tensors, on the CPU)"
            )
        if not isinstance(tensor, Tensor):
            if isinstance(value, Stub) and "Tensor" in value.qualified:
                raise InputError(
                    f"{name}: the weight {key[:80]!r} is a {value.qualified.replace(' ', '.')}: save the full "
                    "state_dict, gathered and with plain tensors"
                )
            left.append(key)
        elif _COUNTERS.fullmatch(key):
            left.append(key)
        else:
            weights[key] = tensor
            narrow.update({tensor.kind} & set(_NARROW))
    said = []
    if left:
        said.append(f"left behind, no weights: {', '.join(left[:5])}{' ...' if len(left) > 5 else ''}")
    if narrow:
        said.append(f"weights of {', '.join(sorted(narrow))} are taken as float32")
    return weights, said


def _is_array(value: Any) -> bool:
    return (
        isinstance(value, Stub)
        and value.qualified.endswith(".multiarray _reconstruct")
        and isinstance(value.state, tuple)
        and len(value.state) == 5
        and isinstance(value.state[4], bytes)
    )


def _array(stub: Stub) -> Tensor | Unusable:
    """A numpy array, from what its pickle says of it."""
    _, shape, dtype, fortran, data = stub.state
    code = str(dtype.given[0]) if isinstance(dtype, Stub) and dtype.given else ""
    order = dtype.state[1] if isinstance(dtype, Stub) and isinstance(dtype.state, tuple) else "|"
    kinds = {"f2": "float16", "f4": "float32", "f8": "float64", "i8": "int64", "i4": "int32", "u1": "uint8",
             "i1": "int8", "b1": "bool"}  # fmt: skip
    if code not in kinds or order == ">" or not isinstance(shape, tuple):
        return Unusable(f"a numpy array of {code[:10]}")
    layout = np.dtype("u1" if code == "b1" else f"<{code}")
    if any(type(side) is not int or side < 0 for side in shape) or int(np.prod(shape)) * layout.itemsize != len(data):
        return Unusable("a numpy array that is damaged")
    return Tensor(kinds[code], np.frombuffer(data, layout).reshape(shape, order="F" if fortran else "C"))


def _listed(places: Mapping[str, Any]) -> str:
    return ", ".join((place or "(bare)")[:60] for place in list(places)[:8])


def is_dtype(value: Any) -> str | None:
    """`float32` for torch's own name of a type of numbers."""
    return value.short if isinstance(value, Name) and value.qualified.startswith("torch ") else None
