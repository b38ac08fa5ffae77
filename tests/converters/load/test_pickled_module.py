"""Whole modules that were pickled: put together from their record, and nothing of the file runs."""

import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

if not os.environ.get("CI"):
    pytest.importorskip("torch", reason="the convert extra is not installed")

import torch

from edgeguard_converters.load.torchvision_operators import make_torchvision_importable

make_torchvision_importable()  # what it returns is cached

import torchvision  # noqa: E402
from converters.models import Residual  # noqa: E402
from torch import nn  # noqa: E402

from edgeguard.errors import InputError  # noqa: E402
from edgeguard_converters.load import pickled_module  # noqa: E402
from edgeguard_converters.load.refused import PickleRefused  # noqa: E402
from edgeguard_converters.load.registry import load_source  # noqa: E402
from edgeguard_converters.load.torch_source import TorchSource  # noqa: E402

pytestmark = pytest.mark.convert


class Calls:
    """Unpickles as a call of a function by its name."""

    def __init__(self, module: str, name: str, *given: Any) -> None:
        self.called, self.given = _Global(module, name), given

    def __reduce__(self) -> Any:
        return self.called, self.given


class _Global:
    """Pickles as a bare name; its `__reduce__` returns the text of a global."""

    def __init__(self, module: str, name: str) -> None:
        self.__module__, self.__qualname__, self.__name__ = module, name, name

    def __call__(self, *_: Any) -> None:
        raise AssertionError("it ran")

    def __reduce__(self) -> str:
        return self.__qualname__


_PythonPickler: Any = vars(pickle)["_Pickler"]


class Pickler(_PythonPickler):
    """Python's own pickler, without the check that a name leads to the object."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        if not isinstance(obj, _Global):
            return super().save_global(obj, name)
        self.write(pickle.GLOBAL + f"{obj.__module__}\n{obj.__qualname__}\n".encode())
        self.memoize(obj)
        return None


class _Module:
    """Stands in for `pickle` in `torch.save`."""

    Pickler = Pickler
    __name__ = "pickle"
    dump, dumps = staticmethod(pickle.dump), staticmethod(pickle.dumps)


def _save(what: Any, path: Path) -> Path:
    torch.save(what, path, pickle_module=_Module)
    return path


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    return nn.Sequential(*layers).eval()


def _compare(net: nn.Module, source: Any, side: int = 32) -> TorchSource:
    assert isinstance(source, TorchSource) and source.kind == "pickled" and not source.module.training
    x = torch.randn(2, 3, side, side)
    assert torch.equal(source.module(x), net(x))
    return source


@pytest.mark.parametrize(
    "way", ["module", "below model", "DataParallel", "compiled", "before zip", "YOLO's ema", "half"]
)
def test_a_module_of_torch_nn(tmp_path: Path, way: str) -> None:
    net, path = _net(), tmp_path / "m.pt"
    what = {
        "below model": {"model": net, "epoch": 1, "optimizer": torch.optim.SGD(net.parameters(), 0.1)},
        "DataParallel": nn.DataParallel(net),
        "compiled": torch.compile(net),
        "YOLO's ema": {"model": None, "ema": net, "updates": 3},
    }.get(way, net.half() if way == "half" else net)
    torch.save(what, path, _use_new_zipfile_serialization=way != "before zip")
    source = _compare(net.float(), load_source(path, size=(32, 32)))
    assert any("it was put together from its record, no code of the file ran" in line for line in source.facts.said)


def test_a_module_of_torchvision_brings_its_preprocessing(tmp_path: Path) -> None:
    net = torchvision.models.mobilenet_v3_small(num_classes=5).eval()
    torch.save(net, tmp_path / "m.pt")
    source = _compare(net, load_source(tmp_path / "m.pt"), 64)
    assert source.size == (224, 224) and source.facts.stated_by == "torchvision mobilenet_v3_small"


def test_a_module_of_timm_brings_its_own_configuration(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="the zoo extra is not installed")
    net = timm.create_model("mobilenetv3_small_050", num_classes=5).eval()
    torch.save(net, tmp_path / "m.pt")
    source = _compare(net, load_source(tmp_path / "m.pt"), 64)
    assert source.size == (224, 224) and source.facts.crop_fraction == net.pretrained_cfg["crop_pct"]


@pytest.mark.full
def test_modules_of_every_family(tmp_path: Path) -> None:
    """One small network of each of torchvision's families, and some of timm's."""
    timm = pytest.importorskip("timm", reason="the zoo extra is not installed")
    names = ("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "maxvit_t", "mnasnet0_5",
             "mobilenet_v2", "mobilenet_v3_large", "regnet_x_400mf", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_0",
             "swin_t", "vit_b_32")  # fmt: skip
    of_timm = ("convnext_atto", "edgenext_xx_small", "efficientnet_lite0", "ghostnet_100", "mobilenetv4_conv_small",
               "mobilevit_xxs", "regnetx_002", "repvgg_a0", "resnet10t", "vit_tiny_patch16_224")  # fmt: skip
    made = [torchvision.models.get_model(name, weights=None) for name in names]
    made += [timm.create_model(name) for name in of_timm]
    for net in made:
        torch.save(net.eval(), tmp_path / "m.pt")
        source = load_source(tmp_path / "m.pt", size=(224, 224))
        assert isinstance(source, TorchSource)
        x = torch.randn(1, 3, 224, 224)
        assert torch.equal(source.module(x), net(x)), type(net)


def test_a_class_of_another_package_is_refused_by_its_name(tmp_path: Path) -> None:
    torch.save(Residual(), tmp_path / "m.pt")
    with pytest.raises(PickleRefused, match=r"the class converters\.models\.Residual.*its code was not run"):
        load_source(tmp_path / "m.pt", size=(32, 32))
    inner = nn.Sequential(nn.Conv2d(3, 3, 1), Residual())
    torch.save(inner, tmp_path / "m.pt")
    with pytest.raises(PickleRefused, match=r"converters\.models\.Residual"):
        load_source(tmp_path / "m.pt", size=(32, 32))


def test_its_weights_can_still_be_taken_with_an_architecture(tmp_path: Path) -> None:
    net = Residual().eval()
    torch.save(net, tmp_path / "m.pt")
    source = load_source(tmp_path / "m.pt", arch="converters.models:make_residual", size=(32, 32))
    assert isinstance(source, TorchSource)
    assert all(
        torch.equal(a, b) for a, b in zip(source.module.state_dict().values(), net.state_dict().values(), strict=True)
    )


#: Functions and classes of allowed packages that have effects, reached as a call.
GADGETS = [
    ("torch.hub", "load"),
    ("torch._utils", "_import_dotted_name"),
    ("torch._tensor", "_rebuild_from_type_v2"),
    ("torch._utils", "_rebuild_nothing"), ("torch.serialization", "load"), ("torch", "load"), ("torch.jit", "load"),
    ("torch.utils.cpp_extension", "load"), ("torch.ops", "load_library"), ("torch.classes", "load_library"),
    ("torch._C", "_import_ir_module_from_package"), ("torch.package", "PackageImporter"),
    ("torch.distributed.rpc", "rpc_sync"), ("torch.multiprocessing", "spawn"), ("torch.fx", "GraphModule"),
    ("torch.fx.graph_module", "reduce_graph_module"), ("torch.nn.modules.module", "Module.load_state_dict"),
    ("torch.nn.modules.lazy", "itertools"), ("torch.nn.modules.container", "operator.attrgetter"),
    ("torchvision.datasets.utils", "download_url"), ("torchvision.io", "write_file"),
    ("torchvision.models", "resnet18"), ("torchvision.models.feature_extraction", "DualGraphModule"),
    ("timm", "create_model"), ("timm.models._helpers", "load_checkpoint"), ("timm.models._hub", "push_to_hf_hub"),
    ("timm.layers.activations", "inplace.__globals__"), ("functools", "partial"), ("functools", "reduce"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "name"), GADGETS)
@pytest.mark.parametrize("place", ["attribute", "module", "hook", "buffer"])
def test_a_gadget_of_an_allowed_package_is_refused(tmp_path: Path, module: str, name: str, place: str) -> None:
    net = _net()
    gadget: Any = Calls(module, name, "x")
    if place == "attribute":
        net[0].__dict__["anything"] = gadget
    elif place == "module":
        net._modules["7"] = gadget
    elif place == "hook":
        net[0]._forward_hooks[1] = gadget
    else:
        net[1]._buffers["running_mean"] = gadget
    path = _save(net, tmp_path / "m.pt")
    with pytest.raises(PickleRefused):
        load_source(path, size=(32, 32))


@pytest.mark.parametrize("key", ["forward", "__class__", "__call__", "_call_impl", "eval", "state_dict", "__dict__"])
def test_an_attribute_that_replaces_a_method_is_refused(tmp_path: Path, key: str) -> None:
    net = _net()
    state = dict(net.__dict__)
    stub = nn.Module.__new__(nn.Sequential)
    stub.__dict__.update(state, **{key: nn.Identity()})
    with pytest.raises((PickleRefused, InputError)):
        load_source(_save_state(tmp_path / "m.pt", stub.__dict__), size=(32, 32))


def _save_state(path: Path, state: dict[str, Any]) -> Path:
    class Written:
        def __reduce__(self) -> Any:
            return _Global("torch.nn.modules.container", "Sequential"), (), state

    torch.save(Written(), path, pickle_module=_Module)
    return path


def test_what_is_on_the_list_and_not_a_module_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list names classes; a module of that name that holds something else (an old version) is refused too."""
    net = _net()
    path = tmp_path / "m.pt"
    torch.save(net, path)
    assert "torch.nn.modules.conv Conv2d" in pickled_module._TORCH_CLASSES
    monkeypatch.setattr(nn.modules.conv, "Conv2d", print)
    with pytest.raises(PickleRefused, match="installed version does not have"):
        load_source(path, size=(32, 32))


@pytest.mark.full
def test_no_class_of_the_list_has_a_state_of_its_own_to_run() -> None:
    """`__setstate__` beyond torch.nn's is never called, so none may be needed; no class reads names or runs texts."""
    import importlib
    import inspect

    pytest.importorskip("timm", reason="the zoo extra is not installed")
    from edgeguard_converters.load.zoo.index import known_classes

    for qualified in sorted(known_classes() | pickled_module._TORCH_CLASSES):
        place, _, name = qualified.partition(" ")
        assert place.startswith(
            ("torch.nn.modules.", "torchvision.models.", "torchvision.ops.", "timm.models.", "timm.layers.")
        )
        kind = getattr(importlib.import_module(place), name)
        assert issubclass(kind, nn.Module) and kind.__module__ == place
        setters = [base for base in kind.__mro__ if "__setstate__" in vars(base)]
        assert all(base.__module__.startswith("torch.nn.modules.") for base in setters), qualified
        source = inspect.getsource(kind)
        runs = re.search(
            r"(?<![\w.])(eval|exec|open|compile|__import__)\(|subprocess|pickle|importlib|torch\.load", source
        )
        assert runs is None, (qualified, runs)


def test_a_module_that_holds_itself_is_refused(tmp_path: Path) -> None:
    net = _net()
    net._modules["7"] = net
    torch.save(net, tmp_path / "m.pt")
    with pytest.raises(InputError):
        load_source(tmp_path / "m.pt", size=(32, 32))


def test_weights_beside_code_that_would_run_are_not_taken(tmp_path: Path) -> None:
    for module, name in (("os", "system"), ("posix", "system"), ("builtins", "eval"), ("subprocess", "Popen")):
        path = _save({"model": _net().state_dict(), "x": Calls(module, name, "true")}, tmp_path / "m.pt")
        with pytest.raises(PickleRefused, match=rf"{module}\.{name}"):
            load_source(path, size=(32, 32))
