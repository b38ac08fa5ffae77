"""Known architectures: found by names and shapes, built, loaded strictly; what is not certain is refused."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if not os.environ.get("CI"):
    pytest.importorskip("torch", reason="the convert extra is not installed")

import torch

from edgeguard_converters.load.torchvision_operators import make_torchvision_importable

make_torchvision_importable()  # what it returns is cached
if not os.environ.get("CI"):
    pytest.importorskip("timm", reason="the zoo extra is not installed")

import timm  # noqa: E402
import torchvision  # noqa: E402

from edgeguard.errors import InputError  # noqa: E402
from edgeguard_converters.load.refused import ArchitectureMissing  # noqa: E402
from edgeguard_converters.load.registry import load_source  # noqa: E402
from edgeguard_converters.load.torch_source import TorchSource  # noqa: E402
from edgeguard_converters.load.zoo.architecture import build, identified  # noqa: E402
from edgeguard_converters.load.zoo.index import INDEX, known_architectures  # noqa: E402

pytestmark = pytest.mark.convert


def _shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize(
    ("arch", "classes"),
    [
        ("torchvision:mobilenet_v2", 10),
        ("torchvision:resnet18", 2),
        ("torchvision:shufflenet_v2_x1_0", 1000),
        ("torchvision:squeezenet1_1", 7),
        ("timm:mobilenetv3_small_100", 5),
        ("timm:efficientnet_lite0", 43),
        ("timm:convnext_femto", 3),
    ],
)
def test_a_network_is_known_by_its_weights(arch: str, classes: int) -> None:
    with torch.device("meta"):
        shapes = _shapes(build(arch, classes))
        if arch in ("timm:mobilenetv3_small_100", "timm:efficientnet_lite0"):  # TensorFlow's variants pad otherwise
            assert {k.name for k in known_architectures(shapes)} > {arch}
            return
        found = identified(shapes, "m.pt")
    assert (found.name, _shapes(found.module)) == (arch, shapes)
    library, _, name = arch.partition(":")
    assert f"m.pt: the weights are {library} {name}'s, {classes} classes" in found.said


def test_networks_of_one_name_that_compute_otherwise_are_refused_with_their_names(tmp_path: Path) -> None:
    torch.save(timm.create_model("efficientnet_lite0", num_classes=4).state_dict(), tmp_path / "m.pt")
    with pytest.raises(InputError, match="do not compute the same") as refused:
        load_source(tmp_path / "m.pt")
    assert "timm:efficientnet_lite0" in str(refused.value) and "timm:tf_efficientnet_lite0" in str(refused.value)
    source = load_source(tmp_path / "m.pt", arch="timm:efficientnet_lite0")
    assert "the weights fit timm efficientnet_lite0, 4 classes" in source.facts.said
    assert source.facts.stated_by == "timm efficientnet_lite0" and source.size == (224, 224)


def test_timm_and_torchvision_agree_on_a_resnet(tmp_path: Path) -> None:
    """Both have it, both compute the same: torchvision's is built, and it is said."""
    torch.manual_seed(0)
    net = timm.create_model("resnet18", num_classes=6).eval()
    torch.save({"state_dict": net.state_dict(), "arch": "resnet18"}, tmp_path / "m.pth.tar")
    source = load_source(tmp_path / "m.pth.tar")
    assert isinstance(source, TorchSource) and isinstance(source.module, torchvision.models.ResNet)
    assert any("timm:resnet18" in line and "would compute the same" in line for line in source.facts.said)
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(source.module(x), net(x))


@pytest.mark.full
def test_a_variant_that_fits_too_is_said_and_the_checkpoint_decides(tmp_path: Path) -> None:
    """resnetblur18 has resnet18's weights and another pooling."""
    weights = torchvision.models.resnet18(num_classes=6).state_dict()
    torch.save(weights, tmp_path / "m.pt")
    said = load_source(tmp_path / "m.pt").facts.said
    assert any("timm:resnetblur18 WOULD FIT TOO and compute otherwise" in line for line in said)
    torch.save({"state_dict": weights, "arch": "resnetblur18"}, tmp_path / "m.pt")
    said = load_source(tmp_path / "m.pt").facts.said
    assert "m.pt: the weights are timm resnetblur18's, 6 classes" in said


def test_what_is_not_known_is_refused_with_what_to_do(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.ones(2, 2)}, tmp_path / "m.pt")
    with pytest.raises(ArchitectureMissing, match="no network that is known here: give --arch torchvision:NAME"):
        load_source(tmp_path / "m.pt")
    torch.save(torchvision.models.mobilenet_v2(width_mult=0.5).state_dict(), tmp_path / "thin.pt")
    with pytest.raises(ArchitectureMissing, match="names are those of torchvision:mobilenet_v2, their shapes are not"):
        load_source(tmp_path / "thin.pt")


@pytest.mark.parametrize(
    ("arch", "why"),
    [
        ("torchvision:nothing", "torchvision has no classifier of this name"),
        ("timm:hf-hub:timm/resnet18", "timm has no classifier of this name"),
        ("torchvision:resnet18", "do not fit torchvision:resnet18: the file lacks bn1.bias"),
        ("timm:mobilenetv2_140", "do not fit timm:mobilenetv2_140"),
    ],
)
def test_a_named_network_that_does_not_fit(tmp_path: Path, arch: str, why: str) -> None:
    torch.save(torchvision.models.mobilenet_v2(num_classes=3).state_dict(), tmp_path / "m.pt")
    with pytest.raises(InputError, match=why):
        load_source(tmp_path / "m.pt", arch=arch)


def test_weights_that_fit_by_shape_alone_are_checked_strictly(tmp_path: Path) -> None:
    weights = torchvision.models.squeezenet1_1(num_classes=3).state_dict()
    del weights["classifier.1.bias"]
    torch.save(weights, tmp_path / "m.pt")
    with pytest.raises(ArchitectureMissing):
        load_source(tmp_path / "m.pt")


def test_the_family_brings_its_preprocessing(tmp_path: Path) -> None:
    torch.save(timm.create_model("mobilenetv3_small_050", num_classes=3).state_dict(), tmp_path / "m.pt")
    source = load_source(tmp_path / "m.pt", arch="timm:mobilenetv3_small_050")
    config: dict[str, Any] = timm.create_model("mobilenetv3_small_050").default_cfg
    assert source.facts.mean == pytest.approx([255 * value for value in config["mean"]])
    assert source.facts.crop_fraction == config["crop_pct"] and source.size == (224, 224)


def test_the_index_is_small() -> None:
    assert INDEX.stat().st_size < 150_000


def test_a_network_that_looks_at_the_version_of_its_weights_is_loaded(tmp_path: Path) -> None:
    """What `torch.save` keeps beside the tensors is not read from a file that nobody vouches for."""
    net = build("torchvision:mnasnet0_5", 3)
    torch.save(net.state_dict(), tmp_path / "m.pth")
    source = load_source(tmp_path / "m.pth", size=(64, 64))
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert np.allclose(source.outputs(x.permute(0, 2, 3, 1).numpy())[0], net.eval()(x).numpy(), atol=1e-5)
