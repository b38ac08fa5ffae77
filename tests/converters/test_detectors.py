"""Detectors through the converter: joined and separate outputs, and what the device makes of them."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.guard import GuardProfile
from edgeguard.model import load_model

pytestmark = pytest.mark.convert
SIDE = 64


def _pictures(count: int) -> NDArray[np.uint8]:
    """One bright square each on noise."""
    rng = np.random.default_rng(3)
    pictures = rng.integers(30, 90, (count, SIDE, SIDE, 3), dtype=np.uint8)
    for picture in pictures:
        x, y = rng.integers(2, SIDE - 18, 2)
        picture[y : y + 16, x : x + 16, rng.integers(0, 3)] = 250
    return pictures


def _detector(joined: bool):
    """Cells of 8 pixels; boxes cx, cy, w, h in pixels; scores of three classes from the brightness of each channel."""
    import torch

    class Detector(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            cells = SIDE // 8
            self.look = torch.nn.Conv2d(3, 3, 8, 8)
            self.size = torch.nn.Conv2d(3, 2, 8, 8)
            assert self.look.bias is not None
            with torch.no_grad():
                self.look.weight.zero_()
                for k in range(3):
                    self.look.weight[k, k] = 12 / 64
                self.look.bias.fill_(-6.0)
                self.size.weight.mul_(0.01)
            ys, xs = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
            self.register_buffer("centers", torch.stack([xs, ys]).float()[None] * 8 + 4)

        def forward(self, x):
            scores = self.look(x).sigmoid()
            size = self.size(x).sigmoid() * 24
            centers = self.centers + size * 0.01
            if joined:
                return torch.cat([centers, size, scores], 1).flatten(2)
            return torch.cat([centers, size], 1).flatten(2), scores.flatten(2)

    torch.manual_seed(0)
    return Detector().eval()


@pytest.mark.parametrize(
    ("saved", "joined"),
    [
        ("pt2", False),
        ("module", True),
        pytest.param("pt2", True, marks=pytest.mark.full),
        pytest.param("module", False, marks=pytest.mark.full),
    ],
)
@pytest.mark.full
def test_boxes_and_scores_survive_int8(joined: bool, saved: str, fd: GuardProfile, tmp_path: Path) -> None:
    """One tensor for pixels and scores would leave scores of 0 or 0.3 only: they are separated at their origin."""
    import torch
    from ai_edge_litert.interpreter import Interpreter

    from edgeguard_converters import convert

    net, pictures = _detector(joined), _pictures(80)
    model = net
    if saved == "pt2":
        model = tmp_path / "d.pt2"
        torch.export.save(torch.export.export(net, (torch.zeros(1, 3, SIDE, SIDE),)), model)
    done = convert(
        model, None if saved == "pt2" else SIDE, output=tmp_path / "d.tflite", calibration=list(pictures[:40]),
        evaluation=list(pictures[40:]), profile=fd, preprocess="unit", crop="none", boxes="cxcywh",
        labels=("red", "green", "blue"),
    )  # fmt: skip
    assert done.contract.task == "detect" and done.contract.detection is not None
    assert (done.contract.detection.boxes, done.contract.detection.units) == ("cxcywh", "pixels")
    assert done.report.agreement > 0.97 and done.report.snr_db > 30
    scales = sorted(d["quantization"][0] for d in Interpreter(str(tmp_path / "d.tflite")).get_output_details())
    assert scales[0] < 1 / 200 and scales[1] > 0.1  # one for scores, one for pixels
    device = load_model(tmp_path / "d.tflite")
    frame = pictures[50]
    y, x = (int(v) for v in np.argwhere((frame == 250).any(axis=2)).mean(axis=0))
    seen = device(frame)
    assert seen.boxes and seen.score > 0.3
    best = seen.boxes[0]
    assert abs((best.x1 + best.x2) / 2 - x) < 12 and abs((best.y1 + best.y2) / 2 - y) < 12
    assert best.label == ("red", "green", "blue")[int((frame == 250).any(axis=(0, 1)).argmax())]


def test_what_a_box_is_has_to_be_said(fd: GuardProfile, tmp_path: Path) -> None:
    from edgeguard_converters import convert

    with pytest.raises(InputError, match="give --boxes"):
        convert(
            _detector(False), SIDE, output=tmp_path / "d.tflite", calibration=list(_pictures(16)), preprocess="unit",
            crop="none",
        )  # fmt: skip
    with pytest.raises(InputError, match="a detector's outputs cannot tell"):
        convert(
            _detector(True), SIDE, output=tmp_path / "d.tflite", calibration=list(_pictures(16)),
            labels=("a", "b", "c"),
        )  # fmt: skip
    assert not (tmp_path / "d.tflite").exists()


def test_features_are_not_taken_for_boxes(tmp_path: Path) -> None:
    import torch

    from edgeguard_converters import convert

    class Tokens(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.unfold(x, 4, stride=8)  # (n, 48, 64): patches, not boxes

    with pytest.raises(InputError, match="looks like a YOLO head, but its scores are not in"):
        convert(
            Tokens(), SIDE, output=tmp_path / "d.tflite", calibration=list(_pictures(16)), preprocess="tf",
        )  # fmt: skip


def test_outputs_that_are_neither(tmp_path: Path) -> None:
    import torch

    from edgeguard_converters import convert

    class Three(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3)), x.amax((2, 3)), x.amin((2, 3))

    with pytest.raises(InputError, match="looks like a network with 3 heads"):
        convert(Three(), SIDE, output=tmp_path / "d.tflite", calibration=list(_pictures(16)))


def test_agreement_of_boxes() -> None:
    from edgeguard.model.contract import Contract, Detection, InputSpec
    from edgeguard_converters.verify.agreement import agreement

    contract = Contract(InputSpec(100, 100), task="detect", detection=Detection("xyxy"), outputs="probabilities")
    boxes = np.array([[[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]]] * 10, np.float32)
    scores = np.array([[[0.9, 0.0], [0.0, 0.8]]] * 10, np.float32)
    assert agreement((boxes, scores), (boxes, scores), contract).share == 1.0
    fewer = scores.copy()
    fewer[:5, 1] = 0.0  # five of twenty boxes are missed
    found = agreement((boxes, scores), (boxes, fewer), contract)
    assert found.share == pytest.approx(2 * 15 / 35) and found.low < found.share < found.high
    assert found.differs.tolist() == [True] * 5 + [False] * 5
    moved = boxes + np.float32(0.3)
    assert agreement((boxes, scores), (moved, scores), contract).share == 0.0
    nothing = np.zeros_like(scores)
    assert agreement((boxes, nothing), (boxes, nothing), contract).share == 1.0
