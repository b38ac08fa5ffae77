"""A pickled module (`torch.save(model)`), put together again from its record without running code of the file.

The record says of each module its class and its attributes. A class is taken if its exact name stands on the list of
those that torchvision's and timm's classifiers are made of (`zoo/families.json`) or on torch.nn's own list below; an
object of it is made empty and gets its attributes one by one: numbers, texts, tensors, containers of these, further
modules. No constructor runs, no `__setstate__` but torch.nn's own, no function of the file's choice.
"""

import functools
import importlib
from collections.abc import Iterable
from typing import Any

import torch

from edgeguard_converters.load.containers import is_dtype, is_module, unwrapped
from edgeguard_converters.load.pickle_records import Stub, Tensor
from edgeguard_converters.load.refused import PickleRefused
from edgeguard_converters.load.torchvision_operators import make_torchvision_importable
from edgeguard_converters.load.weight_tensors import torch_tensor
from edgeguard_converters.load.zoo.index import known_classes

#: torch.nn's modules that take images or vectors and hold no code of others.
_OF_TORCH = {
    "activation": "CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid LogSoftmax Mish "
    "MultiheadAttention PReLU ReLU ReLU6 SELU Sigmoid SiLU Softmax Softmax2d Softmin Softplus Softshrink Softsign Tanh "
    "Tanhshrink Threshold",
    "batchnorm": "BatchNorm1d BatchNorm2d SyncBatchNorm",
    "channelshuffle": "ChannelShuffle",
    "container": "ModuleDict ModuleList ParameterDict ParameterList Sequential",
    "conv": "Conv1d Conv2d ConvTranspose1d ConvTranspose2d",
    "dropout": "AlphaDropout Dropout Dropout1d Dropout2d FeatureAlphaDropout",
    "flatten": "Flatten Unflatten",
    "fold": "Fold Unfold",
    "instancenorm": "InstanceNorm1d InstanceNorm2d",
    "linear": "Bilinear Identity Linear",
    "normalization": "CrossMapLRN2d GroupNorm LayerNorm LocalResponseNorm RMSNorm",
    "padding": "CircularPad2d ConstantPad1d ConstantPad2d ReflectionPad1d ReflectionPad2d ReplicationPad1d "
    "ReplicationPad2d ZeroPad1d ZeroPad2d",
    "pixelshuffle": "PixelShuffle PixelUnshuffle",
    "pooling": "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveMaxPool1d AdaptiveMaxPool2d AvgPool1d AvgPool2d LPPool2d "
    "MaxPool1d MaxPool2d",
    "transformer": "TransformerEncoder TransformerEncoderLayer",
    "upsampling": "Upsample UpsamplingBilinear2d UpsamplingNearest2d",
}
_TORCH_CLASSES = frozenset(f"torch.nn.modules.{at} {name}" for at, names in _OF_TORCH.items() for name in names.split())
#: Functions without effect beyond their tensors, which some modules keep as an attribute.
_FUNCTIONS = frozenset({
    "timm.layers.activations gelu", "torch.nn.functional relu", "torch.nn.functional gelu",
    "torch.nn.functional silu", "torch.nn.functional hardswish", "torch.nn.functional relu6",
    "torch.nn.functional softmax", "torch.nn.functional sigmoid", "torch._C._nn gelu",
})  # fmt: skip
_ENUMERATIONS = frozenset({"timm.layers.format Format"})
#: Hooks that change what a module answers; those of training and of saving are left behind.
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_LEFT_BEHIND = ("_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks", "_state_dict_pre_hooks",
                "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks", "_compiled_call_impl")  # fmt: skip
_MOST_MODULES = 20_000
_MOST_PLACES = 100_000  # of modules: one that stands in two places counts twice, with all below it
_MOST_VALUES = 1_000_000  # in attributes, counted alike


def module_of_record(record: Stub, name: str) -> tuple[torch.nn.Module, list[str]]:
    """Make the module that a pickle tells of.

    Args:
        record: of the module, from `read_checkpoint(..., objects=True)`.
        name: of the file, for messages.

    Returns:
        The module, in evaluation mode and float32, and lines for the user.

    Raises:
        PickleRefused: it holds a class, a function or a hook that is not on the lists; the first is named.
    """
    make_torchvision_importable()
    record, said = unwrapped(record)
    module = _Maker(name).module(record)
    module.train(False)
    return module.float(), said


class _Maker:
    def __init__(self, name: str) -> None:
        self._name = name
        self._made: dict[int, torch.nn.Module] = {}
        self._tensors: dict[int, torch.Tensor] = {}
        self._unfinished: set[int] = set()
        self._places: dict[int, int] = {}
        self._below = [0]  # modules below each of those that are being made
        self._values_left = _MOST_VALUES
        self._allowed = known_classes() | _TORCH_CLASSES

    def module(self, record: Stub) -> torch.nn.Module:
        key = id(record)
        if key in self._unfinished or len(self._made) > _MOST_MODULES:
            raise PickleRefused(f"{self._name} holds a module that holds itself, or too many; refused")
        if key not in self._made:
            self._unfinished.add(key)
            self._below.append(1)
            self._made[key] = self._make(record)
            self._places[key] = self._below.pop()
            self._unfinished.discard(key)
        self._below[-1] += self._places[key]
        if self._below[-1] > _MOST_PLACES:  # forty that each hold the next one twice would run 2^40 modules
            raise PickleRefused(f"{self._name} holds modules that stand in too many places at once; refused")
        return self._made[key]

    def _make(self, record: Stub) -> torch.nn.Module:
        kind = self._class(record)
        state = dict(record.state)
        for hooks in _HOOKS:
            if hooked := state.pop(hooks, None):
                raise self._refusal(f"a hook ({_shown(next(iter(hooked.values()), None))}) on a {kind.__name__}")
        for name in _LEFT_BEHIND:
            state.pop(name, None)
        if record.given or record.items or record.members:
            raise self._refusal(f"a {kind.__name__} with more than attributes")
        made = kind.__new__(kind)
        torch.nn.Module.__init__(made)
        attributes = {
            "_parameters": {n: self._parameter(v) for n, v in self._texts(state.pop("_parameters", {}))},
            "_buffers": {n: self._value(v) for n, v in self._texts(state.pop("_buffers", {}))},
            "_modules": {n: self._child(v) for n, v in self._texts(state.pop("_modules", {}))},
        }
        for key, value in self._texts(state):
            if key.startswith("__") or callable(getattr(kind, key, None)):
                raise self._refusal(f"an attribute {key[:60]!r} that replaces what a {kind.__name__} does")
            attributes[key] = self._value(value)
        own: Any = kind.__setstate__
        if own.__module__.startswith("torch.nn.modules."):
            own(made, attributes)  # gives modules of older versions what they lack
        else:
            torch.nn.Module.__setstate__(made, attributes)
        return made

    def _class(self, record: Stub) -> type[torch.nn.Module]:
        if record.qualified not in self._allowed:
            raise self._refusal(f"the class {_shown(record)}")
        place, _, name = record.qualified.partition(" ")
        found = _imported(place, name)
        if not isinstance(found, type) or not issubclass(found, torch.nn.Module) or found.__module__ != place:
            raise self._refusal(f"the class {_shown(record)}, which the installed version does not have")
        return found

    def _child(self, value: Any) -> torch.nn.Module | None:
        if value is None:
            return None
        if not is_module(value):
            raise self._refusal(f"a {_shown(value)} in a module's place")
        return self.module(value)

    def _parameter(self, value: Any) -> torch.nn.Parameter | None:
        if value is None:
            return None
        if not isinstance(value, Tensor):
            raise self._refusal(f"a {_shown(value)} in a parameter's place")
        if id(value) not in self._tensors:
            tensor = torch_tensor(value)
            self._tensors[id(value)] = torch.nn.Parameter(tensor, requires_grad=tensor.is_floating_point())
        found = self._tensors[id(value)]
        return found if isinstance(found, torch.nn.Parameter) else torch.nn.Parameter(found)

    def _value(self, value: Any) -> Any:
        """An attribute: plain data, tensors, modules, containers of these."""
        self._values_left -= 1
        if self._values_left < 0:
            raise PickleRefused(f"{self._name} holds a module with too many attributes, or ones within each other")
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return value
        if isinstance(value, Tensor):
            return self._tensors.setdefault(id(value), torch_tensor(value))
        if isinstance(value, dict):
            return {key: self._value(inner) for key, inner in self._texts(value, any_key=True)}
        if isinstance(value, (list, tuple, set, frozenset)):
            return type(value)([self._value(inner) for inner in value])
        if (dtype := is_dtype(value)) and isinstance(getattr(torch, dtype, None), torch.dtype):
            return getattr(torch, dtype)
        return self.module(value) if is_module(value) else self._object(value)

    def _object(self, value: Any) -> Any:
        """A function of the list, a class of the list, one of them with arguments, or a value of an enumeration."""
        qualified = value.qualified if isinstance(value, Stub) else getattr(value, "qualified", "")
        place, _, name = qualified.partition(" ")
        if isinstance(value, type) and issubclass(value, Stub):
            if qualified in _FUNCTIONS or qualified in self._allowed:
                return _imported(place, name)
        elif isinstance(value, Stub) and qualified in _ENUMERATIONS and len(value.given) == 1:
            return _imported(place, name)(str(value.given[0]))
        elif isinstance(value, Stub) and qualified == "functools partial" and isinstance(value.state, tuple):
            function, given, named, _ = value.state
            if isinstance(function, type) and issubclass(function, Stub):
                return functools.partial(self._object(function), *self._value(given), **self._value(named))
        raise self._refusal(f"an attribute of the class or function {_shown(value)}")

    def _texts(self, found: Any, *, any_key: bool = False) -> Iterable[tuple[Any, Any]]:
        if not isinstance(found, dict) or not (any_key or all(isinstance(key, str) for key in found)):
            raise self._refusal("a module whose attributes have no names")
        return list(found.items())

    def _refusal(self, what: str) -> PickleRefused:
        return PickleRefused(
            f"{self._name} is a pickled module that holds {what}, which is not on the list of torch.nn, torchvision "
            "and timm; refused, its code was not run: save a torch.export program, or its state_dict with --arch (or "
            "say --trust-pickle if you made the file yourself)"
        )


def _imported(module: str, name: str) -> Any:
    """A class or function of the lists, from the installed package."""
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        package = module.split(".")[0]
        raise PickleRefused(
            f"the file is made of {package}'s modules, which cannot be imported here ({error}): pip install "
            "'edgeguard[zoo]'"
        ) from error


def _shown(value: Any) -> str:
    qualified = getattr(value, "qualified", None)
    return (qualified.replace(" ", ".") if isinstance(qualified, str) and qualified else type(value).__name__)[:100]
