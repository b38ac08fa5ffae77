"""Two small detectors and the drawn scenes they learn from: circles, squares and triangles on noise."""

import math
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

SHAPES = ("circle", "square", "triangle")


def draw_scene(
    rng: np.random.Generator, side: int
) -> tuple[NDArray[np.uint8], list[tuple[int, float, float, float, float]]]:
    """An RGB picture of `side` pixels and its boxes (class, x1, y1, x2, y2) in pixels."""
    low = rng.integers(40, 216, (6, 6, 3), dtype=np.uint8)
    picture = cv2.resize(low, (side, side), interpolation=cv2.INTER_CUBIC)
    boxes: list[tuple[int, float, float, float, float]] = []
    for _ in range(int(rng.integers(1, 4))):
        size = int(rng.integers(side // 6, side // 3))
        x, y = (int(v) for v in rng.integers(2, side - size - 2, 2))
        if any(x < b[3] and b[1] < x + size and y < b[4] and b[2] < y + size for b in boxes):
            continue
        kind, color = int(rng.integers(0, 3)), tuple(int(v) for v in rng.integers(0, 256, 3))
        if kind == 0:
            cv2.circle(picture, (x + size // 2, y + size // 2), size // 2, color, -1)
        elif kind == 1:
            cv2.rectangle(picture, (x, y), (x + size, y + size), color, -1)
        else:
            corners = np.array([[x + size // 2, y], [x, y + size], [x + size, y + size]], np.int32)
            cv2.fillPoly(picture, [corners], color)
        boxes.append((kind, x, y, x + size, y + size))
    noisy = picture.astype(np.float32) + rng.normal(0, 6, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), boxes


class YoloStyle(nn.Module):
    """An anchor-free single-stage detector.

    Output (n, 4 + classes, cells): cx, cy, w, h in pixels, class scores 0..1.
    """

    def __init__(self, side: int = 160, classes: int = len(SHAPES)) -> None:
        super().__init__()

        def block(i: int, o: int, stride: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.SiLU())

        self.side, self.classes = side, classes
        self.stem = nn.Sequential(
            block(3, 16, 2), block(16, 32, 2), block(32, 32, 1), block(32, 64, 2), block(64, 64, 1)
        )
        self.deep = nn.Sequential(block(64, 96, 2), block(96, 96, 1))
        self.heads = nn.ModuleList(nn.Sequential(block(c, 64, 1), nn.Conv2d(64, 4 + classes, 1)) for c in (64, 96))
        for head in self.heads:
            last = head.get_submodule("1")
            assert isinstance(last, nn.Conv2d) and last.bias is not None
            nn.init.constant_(last.bias[4:], -4.0)
        for name, stride in (("near", 8), ("far", 16)):
            cells = side // stride
            ys, xs = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
            self.register_buffer(f"{name}_grid", torch.stack([xs, ys]).float()[None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised NCHW pictures to decoded boxes and scores."""
        near = self.stem(x)
        far = self.deep(near)
        levels = ((self.heads[0](near), self.near_grid, 8), (self.heads[1](far), self.far_grid, 16))
        decoded = []
        for raw, grid, stride in levels:
            sigmoid = raw.sigmoid()
            center = (sigmoid[:, :2] * 2 - 0.5 + grid) * stride
            size = (sigmoid[:, 2:4] * 2) ** 2 * (4 * stride)
            decoded.append(torch.cat([center, size, sigmoid[:, 4:]], 1).flatten(2))
        return torch.cat(decoded, 2)

    def loss(self, outputs: torch.Tensor, scenes: list[list[tuple[int, float, float, float, float]]]) -> torch.Tensor:
        """Each box belongs to the cells around its centre, on the level that suits its size."""
        target = torch.zeros_like(outputs[:, 4:])
        total = outputs.sum() * 0
        for index, boxes in enumerate(scenes):
            for kind, x1, y1, x2, y2 in boxes:
                cx, cy, w, h = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
                stride = 8 if max(w, h) < self.side * 0.24 else 16
                cells, offset = self.side // stride, 0 if stride == 8 else (self.side // 8) ** 2
                cell = offset + int(cy // stride) * cells + int(cx // stride)
                target[index, kind, cell] = 1.0
                wanted = outputs.new_tensor([cx, cy, w, h]) / self.side
                total = total + 5 * functional.l1_loss(outputs[index, :4, cell] / self.side, wanted, reduction="sum")
        scores = outputs[:, 4:].clamp(1e-5, 1 - 1e-5)
        weight = target * 20 + 1
        return total / len(scenes) + functional.binary_cross_entropy(scores, target, weight, reduction="sum") / len(
            scenes
        )


class SsdOutputs(nn.Module):
    """torchvision's SSDLite as a graph: (boxes (n, anchors, 4) as y1, x1, y2, x2 in 0..1, scores with background)."""

    center: torch.Tensor
    extent: torch.Tensor

    def __init__(self, detector: Any, side: int) -> None:
        super().__init__()
        from torchvision.models.detection.image_list import ImageList

        self.backbone, self.head = detector.backbone, detector.head
        with torch.no_grad():
            picture = torch.zeros(1, 3, side, side)
            features = list(self.backbone(picture).values())
            anchors = detector.anchor_generator(ImageList(picture, [(side, side)]), features)[0] / side
        self.weights = detector.box_coder.weights
        size = anchors[:, 2:] - anchors[:, :2]
        self.register_buffer("center", (anchors[:, :2] + size / 2)[None])
        self.register_buffer("extent", size[None])
        self.limit = math.log(4.0)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised NCHW pictures to boxes and probabilities."""
        raw = self.head(list(self.backbone(x).values()))
        offsets = raw["bbox_regression"]
        center = offsets[..., :2] / self.weights[0] * self.extent + self.center
        half = torch.exp((offsets[..., 2:] / self.weights[2]).clamp(max=self.limit)) * self.extent / 2
        boxes = torch.cat([(center - half).flip(-1), (center + half).flip(-1)], -1)
        return boxes, raw["cls_logits"].softmax(-1)
