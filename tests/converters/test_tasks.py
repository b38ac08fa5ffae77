"""Tasks beyond one vector and separate boxes, from a torch module to what the device says of a frame."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.guard import GuardProfile
from edgeguard.model import Model, load_model

pytestmark = pytest.mark.convert
SIDE = 64


def _pictures(count: int) -> NDArray[np.uint8]:
    """One bright square each on noise, red, green or blue."""
    rng = np.random.default_rng(3)
    pictures = rng.integers(30, 90, (count, SIDE, SIDE, 3), dtype=np.uint8)
    for picture in pictures:
        x, y = rng.integers(2, SIDE - 18, 2)
        picture[y : y + 16, x : x + 16, rng.integers(0, 3)] = 250
    return pictures


def _convert(net: Any, path: Path, profile: GuardProfile | None, **options: Any) -> Model:
    from edgeguard_converters import convert

    pictures = _pictures(48)
    chosen = {"preprocess": "unit", "crop": "none", **options}
    convert(
        net,
        SIDE,
        output=path,
        calibration=list(pictures[:24]),
        evaluation=list(pictures[24:]),
        profile=profile,
        **chosen,
    )
    return load_model(path, "cpu", 1)


def _frame(color: int, x: int = 24, y: int = 40) -> NDArray[np.uint8]:
    frame = np.full((SIDE, SIDE, 3), 50, np.uint8)
    frame[y : y + 16, x : x + 16, color] = 250
    return frame


def _yolo_net(columns_first: bool):
    """Cells of 8 pixels: an objectness from the brightest channel, the classes from each channel, boxes in pixels."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            cells = SIDE // 8
            self.look = torch.nn.Conv2d(3, 4, 8, 8)
            assert self.look.bias is not None
            with torch.no_grad():
                self.look.weight.zero_()
                self.look.weight[0] = 12 / 64
                for k in range(3):
                    self.look.weight[1 + k, k] = 12 / 64
                self.look.bias.copy_(torch.tensor([-9.0, -4.0, -4.0, -4.0]))
            ys, xs = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
            self.register_buffer("centers", torch.stack([xs, ys]).float()[None] * 8 + 4)

        def forward(self, x):
            scores = self.look(x).sigmoid()
            boxes = torch.cat([self.centers + scores[:, :2] * 0.1, scores[:, :2] * 0.1 + 16], 1)
            whole = torch.cat([boxes, scores], 1).flatten(2)
            return whole if columns_first else whole.permute(0, 2, 1)

    return Net().eval()


@pytest.mark.full
@pytest.mark.parametrize("columns_first", [False, True])
def test_objectness_times_class(columns_first: bool, fd: GuardProfile, tmp_path: Path) -> None:
    """It was written with every object as class 0 at score 1.0."""
    model = _convert(
        _yolo_net(columns_first), tmp_path / "m.tflite", fd, labels=("red", "green", "blue"), objectness=None
    )
    detection = model.contract.detection
    assert detection is not None and detection.objectness and detection.head == "raw" and model.classes == 3
    for color, name in enumerate(("red", "green", "blue")):
        seen = model(_frame(color))
        assert seen.label == name and 0.5 < seen.score < 1
        best = (seen.boxes or ())[0]
        assert abs((best.x1 + best.x2) / 2 - 32) < 10 and abs((best.y1 + best.y2) / 2 - 48) < 10
    assert not model(np.full((SIDE, SIDE, 3), 50, np.uint8)).boxes


def test_what_nothing_tells_has_to_be_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"give --labels with 4 or 3 names, or --objectness or --no-objectness"):
        _convert(_yolo_net(False), tmp_path / "m.tflite", None)
    assert not (tmp_path / "m.tflite").exists()


class _Said:
    """Nets whose outputs are refused, by name."""

    @staticmethod
    def nets() -> dict[str, Any]:
        import torch

        class Net(torch.nn.Module):
            def __init__(self, say: Any) -> None:
                super().__init__()
                self.look, self.say = torch.nn.Conv2d(3, 2, 3, padding=1), say

            def forward(self, x):
                return self.say(x, self.look(x))

        rows = torch.zeros(1, 50, 6)
        return {
            "a regression": Net(lambda x, y: y.mean((1, 2, 3))[:, None] - 50),
            "finished boxes": Net(lambda x, y: rows + y.mean() * 0),
            "as of depth": Net(lambda x, y: y[:, :1] * 9),
            "ends in an argmax": Net(
                lambda x, y: (
                    (y.cumsum(1).repeat(1, 3, 1, 1) + torch.arange(6.0)[None, :, None, None])
                    .argmax(1, keepdim=True)
                    .float()
                )
            ),
            "2 heads": Net(lambda x, y: (y.mean((2, 3)), x.mean((2, 3)))),
        }


@pytest.mark.parametrize(
    "what", ["a regression", "finished boxes", "as of depth", "ends in an argmax|depth", "2 heads"]
)
def test_what_is_no_task_is_refused_before_it_is_converted(what: str, tmp_path: Path) -> None:
    nets = _Said.nets()
    with pytest.raises(InputError, match=what):
        _convert(nets[what.split("|")[0]].eval(), tmp_path / "m.tflite", None)


@pytest.mark.full
def test_class_maps(fd: GuardProfile, tmp_path: Path) -> None:
    import torch

    class Net(torch.nn.Module):
        """Scores of nothing, red, green and blue."""

        def __init__(self) -> None:
            super().__init__()
            self.look = torch.nn.Conv2d(3, 4, 1)
            assert self.look.bias is not None
            with torch.no_grad():
                self.look.weight.zero_()
                for k in range(3):
                    self.look.weight[1 + k, k] = 6
                self.look.bias.copy_(torch.tensor([3.0, 0, 0, 0]))

        def forward(self, x):
            return self.look(x)

    names = ("nothing", "red", "green", "blue")
    model = _convert(Net().eval(), tmp_path / "m.tflite", fd, labels=names)
    assert model.contract.task == "segment" and model.contract.gates["agreement"] > 0.98
    shares = {share.label: share.score for share in model(_frame(1)).shares or ()}
    assert shares["green"] == pytest.approx(256 / 4096, abs=0.01) and set(shares) == {"nothing", "green"}


@pytest.mark.full
def test_keypoints(fd: GuardProfile, tmp_path: Path) -> None:
    """Three points, the brightest place of each color: y, x, score."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.smooth, self.best = torch.nn.AvgPool2d(8), torch.nn.MaxPool2d(8)
            self.line = torch.nn.Buffer(torch.linspace(4 / SIDE, 1 - 4 / SIDE, SIDE // 8))

        def forward(self, x):
            maps = self.smooth(x)
            weights = torch.softmax(maps.flatten(2) * 30, 2).reshape(maps.shape)
            y = (weights.sum(3) * self.line).sum(2)
            x = (weights.sum(2) * self.line).sum(2)
            score = torch.sigmoid(self.best(maps).flatten(1) * 12 - 6)
            return torch.stack([y, x, score], 2)

    model = _convert(Net().eval(), tmp_path / "m.tflite", fd, labels=("r", "g", "b"))
    assert model.contract.task == "keypoints" and model.contract.labels == ("r", "g", "b")
    point = (model(_frame(2)).keypoints or ())[2]
    assert point.name == "b" and (point.x, point.y) == pytest.approx((32, 48), abs=3) and point.score > 0.8


def _gray_net():
    """One sigmoid output: how bright the picture is."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.look = torch.nn.Conv2d(1, 4, 8, 8, bias=False)
            with torch.no_grad():
                self.look.weight.fill_(1 / 64)

        def forward(self, x):
            return torch.sigmoid(self.look(x).mean((1, 2, 3))[:, None] * 20 - 8)

    return Net().eval()


@pytest.mark.full
def test_a_gray_classifier_with_one_sigmoid_output(fd: GuardProfile, tmp_path: Path) -> None:
    import torch

    from edgeguard_converters import convert

    torch.export.save(torch.export.export(_gray_net(), (torch.zeros(1, 1, SIDE, SIDE),)), tmp_path / "n.pt2")
    rng = np.random.default_rng(2)
    pictures = [rng.integers(low, low + 60, (SIDE, SIDE, 3), dtype=np.uint8) for low in rng.integers(0, 190, 48)]
    done = convert(
        tmp_path / "n.pt2", output=tmp_path / "m.tflite", calibration=pictures[:24], evaluation=pictures[24:],
        profile=fd, preprocess="unit", crop="none", labels=("dark", "bright"),
    )  # fmt: skip
    assert not any("color" in note for note in done.notes)
    model = load_model(tmp_path / "m.tflite", "cpu", 1)
    assert model.contract.input.color == "GRAY" and model.contract.outputs == "probabilities" and model.classes == 2
    assert model(np.full((90, 90, 3), 20, np.uint8)).label == "dark"
    bright = model(np.full((90, 90, 3), 200, np.uint8))
    assert bright.label == "bright" and bright.score > 0.9


@pytest.mark.parametrize("saved", ["module", "traced", "pt2"])
def test_one_channel_is_seen_whatever_the_file(saved: str, tmp_path: Path) -> None:
    import torch

    from edgeguard_converters.load.exported import load_exported
    from edgeguard_converters.load.source import FileFacts
    from edgeguard_converters.load.torch_source import TorchSource
    from edgeguard_converters.load.torchscript import load_torchscript

    net, example = _gray_net(), torch.zeros(1, 1, SIDE, SIDE)
    if saved == "module":
        source = TorchSource("module", (SIDE, SIDE), FileFacts(), net)
    elif saved == "pt2":
        torch.export.save(torch.export.export(net, (example,)), tmp_path / "n.pt2")
        source = load_exported(tmp_path / "n.pt2")
    else:
        torch.jit.save(torch.jit.trace(net, (example,)), tmp_path / "n.pt")
        source = load_torchscript(tmp_path / "n.pt", (SIDE, SIDE))
    assert source.facts.color == "GRAY"
    (found,) = source.outputs(np.full((2, SIDE, SIDE, 1), 0.5, np.float32))
    np.testing.assert_allclose(found, [[1 / (1 + np.exp(-2.0))]] * 2, rtol=1e-4)
