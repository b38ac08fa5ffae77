"""From a printed patch to camera pixels, differentiable: print, perspective, light, lens, sensor, JPEG (torch)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.differentiable.guard_layer import to_frames, to_levels
from edgeguard.differentiable.surrogates import bpda, round_straight_through
from edgeguard.fieldtest.sheets.printer_map import PrinterMap, exponents

#: Places on a patch that lies on something bent, (..., 2) in -1..1, to where they come from on the flat one.
Bent = Callable[[NDArray[np.float64]], NDArray[np.float64]]
_ROOM_PX = 6.0  # around a bent patch, and a tenth of its side


@dataclass(frozen=True, eq=False)
class View:
    """One picture that a patch is put into.

    Attributes:
        scene: float32 (h, w, 3) levels before light and lens.
        corners: float32 (4, 2) pixels, the patch's square clockwise from the upper left.
        light: float32 (h, w, 3), what each level is multiplied by.
        blur: standard deviation of the lens, pixels; 0 for none.
        noise: standard deviation of the sensor, levels.
        jpeg_quality: of the camera; None for raw frames.
        label: the right output index.
        is_printed: the patch is ink on paper; False for one that is pasted digitally.
        object_box: left, top, right, bottom of the object in pixels, for detectors; None where it is not known.
        stickers: corners of further ones, whose pictures stand beside the first.
        bents: how each of them is bent; empty for flat ones.
        printer: what the printer makes of colours; None for the built-in guess.
    """

    scene: NDArray[np.float32]
    corners: NDArray[np.float32]
    light: NDArray[np.float32]
    blur: float
    noise: float
    jpeg_quality: int | None
    label: int
    is_printed: bool = True
    object_box: tuple[float, float, float, float] | None = None
    stickers: tuple[NDArray[np.float32], ...] = ()
    bents: tuple[Bent, ...] = ()
    printer: PrinterMap | None = None


def photographed(patch: Tensor, mask: Tensor, view: View, rng: np.random.Generator) -> Tensor:
    """What the camera sends for a view with the patch in it: (1, 3, h, w) whole levels.

    Args:
        patch: (3, p, p) levels 0..255, as sent to the printer; of several stickers (3, p, n p).
        mask: (p, p) 0..1.
        view: the scene.
        rng: of print colours and noise.
    """
    scene = torch.from_numpy(view.scene).permute(2, 0, 1)
    if view.is_printed:
        patch = printed(patch, rng) if view.printer is None else mapped(patch, view.printer, rng)
    seen, side = scene, patch.shape[1]
    for number, corners in enumerate((view.corners, *view.stickers)):
        one = patch[:, :, number * side : (number + 1) * side]
        seen = pasted(seen, one, mask, corners, view.bents[number] if view.bents else None)
    seen = seen * torch.from_numpy(view.light).permute(2, 0, 1)
    if view.blur > 0:
        seen = _blurred(seen, view.blur)
    noise = torch.from_numpy(rng.normal(0, view.noise, tuple(seen.shape)).astype(np.float32))
    levels = round_straight_through((seen + noise).clamp(0, 255))[None]
    return levels if view.jpeg_quality is None else bpda(_coded(levels, view.jpeg_quality), levels)


def printed(patch: Tensor, rng: np.random.Generator) -> Tensor:
    """Ink on paper: less contrast, a slight cast, both a little different in each print and camera."""
    gain = torch.from_numpy(rng.uniform(0.86, 0.97, (3, 1, 1)).astype(np.float32))
    lift = torch.from_numpy(rng.uniform(2, 12, (3, 1, 1)).astype(np.float32))
    return patch * gain + lift


def mapped(patch: Tensor, printer: PrinterMap, rng: np.random.Generator) -> Tensor:
    """The same through a measured map; each print and each light is a little different from the measured one."""
    share = patch / 255
    columns = []
    for chosen in exponents(printer.degree):
        column = torch.ones_like(share[0])
        for channel in chosen:
            column = column * share[channel]
        columns.append(column)
    weights = torch.tensor(printer.coefficients, dtype=torch.float32)
    levels = torch.einsum("thw,tc->chw", torch.stack(columns), weights) * 255
    gain = torch.from_numpy(rng.uniform(0.97, 1.03, (3, 1, 1)).astype(np.float32))
    lift = torch.from_numpy(rng.uniform(-3, 3, (3, 1, 1)).astype(np.float32))
    return (levels * gain + lift).clamp(0, 255)


def pasted(
    scene: Tensor, patch: Tensor, mask: Tensor, corners: NDArray[np.float32], bent: Bent | None = None
) -> Tensor:  # fmt: skip
    """The patch in perspective over a (3, h, w) scene; only the pixels around it are touched."""
    height, width = scene.shape[1:]
    room = 0.0 if bent is None else _ROOM_PX + 0.1 * float(np.ptp(corners, axis=0).max())
    left, top = np.maximum(np.floor(corners.min(0) - room).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(corners.max(0) + room).astype(int) + 2, (width, height))
    if right <= left or bottom <= top:
        return scene
    side = patch.shape[1]
    edge = float(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1).mean())
    shrink = max(int(side / max(edge, 1.0)), 1)  # pixels of the patch that fall together are averaged first
    small = F.avg_pool2d(torch.cat([patch * mask, mask[None]])[None], shrink)
    inner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), inner)
    xs, ys = np.meshgrid(np.arange(left, right), np.arange(top, bottom))
    places = np.stack([xs, ys, np.ones_like(xs)], -1).astype(np.float64) @ matrix.T
    flat = places[..., :2] / places[..., 2:]
    grid = torch.from_numpy((flat if bent is None else bent(flat)).astype(np.float32))[None]
    laid = F.grid_sample(small, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
    out = scene.clone()
    window = scene[:, top:bottom, left:right]
    out[:, top:bottom, left:right] = window * (1 - laid[3:]) + laid[:3]
    return out


def total_variation(patch: Tensor) -> Tensor:
    """Mean absolute difference of neighbours, levels: what printers and lenses blur away costs."""
    return (patch[:, 1:] - patch[:, :-1]).abs().mean() + (patch[:, :, 1:] - patch[:, :, :-1]).abs().mean()


def non_printability(patch: Tensor) -> Tensor:
    """Mean distance to the nearest printable colour, levels (Sharif et al. 2016, equation 4, with the minimum).

    Printable: five levels of each ink between 20 and 235.
    """
    levels = torch.linspace(20, 235, 5)
    return (patch[..., None] - levels).abs().amin(-1).mean()


class _Blurred(torch.autograd.Function):
    """A separable blur of (3, h, w) with mirrored edges, by OpenCV both ways: torch takes several times as long."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: NDArray[np.float32]) -> Tensor:
        ctx.taps = taps
        return _filtered(x, taps, cv2.BORDER_REFLECT_101)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """What falls beyond an edge belongs to the pixels that were mirrored there."""
        reach = len(ctx.taps) // 2
        room = F.pad(gradient, (reach, reach, reach, reach))
        return _folded(_folded(_filtered(room, ctx.taps, cv2.BORDER_CONSTANT), reach).mT, reach).mT, None


_blurred_with: Callable[[Tensor, NDArray[np.float32]], Tensor] = _Blurred.apply  # torch gives `apply` no types


def _blurred(x: Tensor, sigma: float) -> Tensor:
    """(3, h, w) through a lens."""
    reach = max(int(3 * sigma + 0.5), 1)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return _blurred_with(x, (taps / taps.sum()).astype(np.float32))


def _filtered(x: Tensor, taps: NDArray[np.float32], border: int) -> Tensor:
    pixels = np.ascontiguousarray(x.detach().permute(1, 2, 0).numpy())
    return torch.from_numpy(cv2.sepFilter2D(pixels, cv2.CV_32F, taps, taps, borderType=border)).permute(2, 0, 1)


def _folded(x: Tensor, reach: int) -> Tensor:
    """(3, h + 2 reach, w): the rows beyond both edges added to those that they mirror."""
    inner = x[:, reach : x.shape[1] - reach].clone()
    inner[:, 1 : reach + 1] += x[:, :reach].flip(1)
    inner[:, inner.shape[1] - 1 - reach : inner.shape[1] - 1] += x[:, x.shape[1] - reach :].flip(1)
    return inner


def _coded(levels: Tensor, quality: int) -> Tensor:
    frame = to_frames(levels)[0]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert picture is not None
    decoded = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return to_levels(np.asarray(decoded, np.uint8)[None])
