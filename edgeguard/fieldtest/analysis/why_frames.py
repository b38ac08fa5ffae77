"""A stored frame, made again from the digital pictures, with each step between screen and model on or off.

What a step did is measured on the frame itself: how large and how turned the object is (its corners), what became of
its colors, how much blur lies over it, which tables the camera coded with. Each can then be left out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import JpegError
from edgeguard.fieldtest.session.place import Corners, as_corners, box_of, rectangle_mm
from edgeguard.fieldtest.sheets.sheet import Picture, Sheet
from edgeguard.jpeg.header import JpegInfo, read_whole_jpeg

Pixels = NDArray[np.float32]
#: In the order in which the world does them; the guard comes after them.
RENDERED_STEPS = ("colors", "scale", "angle", "blur", "camera JPEG")
BLURS = (0.0, 0.4, 0.6, 0.8, 1.1, 1.5, 2.0, 2.8, 4.0, 5.6, 8.0, 11.0, 15.0)  #: That are tried, pixels.
_SAMPLES = 4096
_STRIP = 256  # rows that are mapped at once: ten numbers of 8 bytes for each pixel
_MARGIN = 16
_PILLOW_SAMPLING = {"444": 0, "422": 1, "420": 2}


@dataclass(frozen=True, eq=False)
class ColorMap:
    """What print, light and camera made of digital colors: a polynomial of second degree for each channel.

    Attributes:
        weights: (10, 3): of 1, r, g, b, their squares and products (0..1) to levels.
    """

    weights: NDArray[np.float64]
    _mapped: dict[int, tuple[Picture, Pixels]] = field(default_factory=dict, repr=False)

    def whole(self, picture: Picture) -> Pixels:
        """Of a digital picture, kept: every frame of a light shows the same few ones."""
        if id(picture) not in self._mapped:
            strips = [self(picture[top : top + _STRIP].astype(np.float32)) for top in range(0, len(picture), _STRIP)]
            self._mapped[id(picture)] = picture, np.concatenate(strips)
        return self._mapped[id(picture)][1]

    def __call__(self, rgb: Pixels) -> Pixels:
        """Levels of a picture as the camera would see it."""
        return np.asarray(np.clip(_terms(rgb) @ self.weights, 0, 255), np.float32)


def fitted_colors(digital: Pixels, seen: Pixels) -> ColorMap:
    """The map that explains seen colors (n, 3) by digital ones, with little weight on what few colors tell.

    The ridge pulls towards a map that changes nothing, so that colors that are not on the object stay what they are.
    """
    terms = _terms(digital)
    keep = np.zeros((terms.shape[1], 3))
    keep[1:4] = 255 * np.eye(3)
    ridge = 1e-3 * len(terms) * np.eye(terms.shape[1])
    solved = np.linalg.solve(terms.T @ terms + ridge, terms.T @ seen + ridge @ keep)
    return ColorMap(np.asarray(solved, np.float64))


def _terms(rgb: Pixels) -> NDArray[np.float64]:
    x = np.asarray(rgb, np.float64) / 255
    r, g, b = x[..., 0], x[..., 1], x[..., 2]
    return np.stack([np.ones_like(r), r, g, b, r * r, g * g, b * b, r * g, r * b, g * b], -1)


@dataclass(frozen=True, eq=False)
class FieldFrame:
    """A stored frame of a sheet, and where its object is.

    Attributes:
        rgb: upright.
        data: its bytes.
        sheet: that stands there.
        corners: of the object's rectangle.
        pixels_per_mm: of the object if it stood frontal at its place.
        light: name.
    """

    rgb: Picture
    data: bytes
    sheet: Sheet
    corners: Corners
    pixels_per_mm: float
    light: str

    @cached_property
    def jpeg(self) -> JpegInfo | None:
        """What the camera's JPEG says of itself; None for other frames."""
        try:
            return read_whole_jpeg(self.data) if self.data[:2] == b"\xff\xd8" else None
        except JpegError:
            return None


@dataclass(frozen=True, eq=False)
class Conditions:
    """What the steps did to one frame.

    Attributes:
        frame: see there.
        colors: see there.
        sigma: of the blur over the object, pixels.
        best_px: frontal side (the geometric mean of width and height) at which the digital patch is at its best.
    """

    frame: FieldFrame
    colors: ColorMap
    sigma: float
    best_px: float

    def rendered(self, picture: Picture, on: Sequence[str]) -> tuple[Picture, Corners]:
        """The frame with a digital picture in the object's place, and the corners that it has there.

        Args:
            picture: of the object with what lies on it.
            on: names of `RENDERED_STEPS`.
        """
        frame = self.frame
        height, width = frame.rgb.shape[:2]
        corners = self._corners("scale" in on, "angle" in on)
        content = self.colors.whole(picture) if "colors" in on else picture.astype(np.float32)
        sigma = self.sigma if "blur" in on else 0.0
        part = _window(corners, width, height, round(4 * sigma) + 2)
        moved = tuple((x - part[1].start, y - part[0].start) for x, y in corners)
        out = frame.rgb.copy()
        scene = pasted(out[part], content, moved, frame.sheet, sigma)
        out[part] = np.clip(np.rint(scene), 0, 255).astype(np.uint8)
        if "camera JPEG" in on and frame.jpeg is not None:
            out = coded_like(out, frame.jpeg)
        return out, corners

    def _corners(self, scale: bool, angle: bool) -> Corners:
        frame = self.frame
        flat = rectangle_mm(frame.sheet)
        mean_mm = math.sqrt(abs(flat[0, 0] * flat[0, 1])) * 2
        real = frame.pixels_per_mm * mean_mm
        factor = 1.0 if scale else max(self.best_px / real, 1.0)
        seen = np.array(frame.corners, np.float64)
        if not angle:
            seen = seen.mean(0) + flat @ _roll(flat, seen).T * frame.pixels_per_mm
        middle = seen.mean(0)
        grown = middle + factor * (seen - middle)
        return as_corners(_inside(grown, frame.rgb.shape[1], frame.rgb.shape[0]))


def measured(frame: FieldFrame, picture: Picture, colors: ColorMap | None, best_px: float) -> Conditions:
    """What the steps did to a frame, from its own pixels and the picture that was printed.

    Args:
        frame: see there.
        picture: digital, of what stands in the frame.
        colors: of other frames under the same light; None to fit them here.
        best_px: see `Conditions`.
    """
    crop, corners = _around(frame)
    laid = _laid(crop, picture.astype(np.float32), corners, frame.sheet)
    cover = laid.cover[:, :, 0] > 0.5
    wanted = crop[cover].astype(np.float32)
    every = max(cover.sum() // _SAMPLES, 1)
    best: tuple[float, float, ColorMap] | None = None
    for sigma in BLURS:
        if cover.sum() < 16:
            break
        inside = laid.blurred(sigma)[cover]
        fitted = colors or fitted_colors(inside[::every], wanted[::every])
        made = crop.copy()
        made[cover] = np.asarray(np.clip(np.rint(fitted(inside)), 0, 255), np.uint8)
        coded = made if frame.jpeg is None else coded_like(made, frame.jpeg)
        error = float(((coded[cover].astype(np.float32) - wanted) ** 2).mean())
        if best is None or error < best[0]:
            best = error, sigma, fitted
    identity = ColorMap(np.concatenate([np.zeros((1, 3)), 255 * np.eye(3), np.zeros((6, 3))]))
    return Conditions(frame, identity, 0.0, best_px) if best is None else Conditions(frame, best[2], best[1], best_px)


def color_pairs(frame: FieldFrame, picture: Picture, sigma: float, count: int = 400) -> tuple[Pixels, Pixels]:
    """Digital and seen colors at the same places of the object, (n, 3) each."""
    crop, corners = _around(frame)
    cover = _cover(corners, frame.sheet, crop.shape[1], crop.shape[0]) > 0.5
    sharp = pasted(crop, picture.astype(np.float32), corners, frame.sheet, sigma)
    step = max(int(cover.sum()) // count, 1)
    return np.asarray(sharp[cover][::step], np.float32), np.asarray(crop[cover][::step], np.float32)


def pasted(scene: Picture, content: Pixels, corners: Corners, sheet: Sheet, sigma: float) -> Pixels:
    """A scene with a picture where the object's outline is, its inside blurred, levels."""
    return _laid(scene, content, corners, sheet).blurred(sigma)


@dataclass(frozen=True, eq=False)
class _Laid:
    """A sharp scene with a picture in it, and how much of each pixel the picture covers, (h, w, 1)."""

    sharp: Pixels
    cover: Pixels

    def blurred(self, sigma: float) -> Pixels:
        """The picture's inside blurred; what is around it stays sharp."""
        if sigma <= 0:
            return self.sharp
        soft = np.asarray(cv2.GaussianBlur(self.sharp, (0, 0), sigma), np.float32)
        return np.asarray(self.sharp * (1 - self.cover) + soft * self.cover, np.float32)


def _laid(scene: Picture, content: Pixels, corners: Corners, sheet: Sheet) -> _Laid:
    height, width = scene.shape[:2]
    level = _fitting(content, corners)
    rows, columns = level.shape[:2]
    flat = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(flat, np.array(corners, np.float32))
    warped = cv2.warpPerspective(
        level, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    cover = _cover(corners, sheet, width, height)[:, :, None]
    return _Laid(np.asarray(scene * (1 - cover) + warped * cover, np.float32), cover)


def coded_like(rgb: Picture, info: JpegInfo) -> Picture:
    """A picture as the camera's encoder would have coded it: its tables, its sampling."""
    import io

    from PIL import Image

    stream = io.BytesIO()
    tables = [[int(v) for v in np.asarray(table).ravel()] for table in dict.fromkeys(map(_as_tuple, info.tables))]
    if info.sampling == "gray" or len(info.tables) < 3:
        Image.fromarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)).save(stream, "JPEG", qtables=tables[:1])
    else:
        sampling = _PILLOW_SAMPLING.get(info.sampling, 2)
        Image.fromarray(rgb).save(stream, "JPEG", qtables=tables[:2], subsampling=sampling)
    return decode_whole(stream.getvalue())


def _as_tuple(table: object) -> tuple[int, ...]:
    return tuple(int(v) for v in np.asarray(table).ravel())


def _fitting(content: Pixels, corners: Corners) -> Pixels:
    """The content at a size near that in the frame, so that warping never skips pixels."""
    points = np.array(corners, np.float64)
    edge = float(np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1).max())
    scale = 1.2 * edge / max(content.shape[:2])
    if scale >= 1:
        return content
    size = (max(round(content.shape[1] * scale), 2), max(round(content.shape[0] * scale), 2))
    return np.asarray(cv2.resize(content, size, interpolation=cv2.INTER_AREA), np.float32)


def _cover(corners: Corners, sheet: Sheet, width: int, height: int) -> Pixels:
    """How much of each pixel the object's rectangle covers, 0..1; of a real object its outline."""
    flat = rectangle_mm(sheet) if sheet.about is None else sheet.outline_mm()
    matrix = cv2.getPerspectiveTransform(rectangle_mm(sheet).astype(np.float32), np.array(corners, np.float32))
    points = cv2.perspectiveTransform(flat[None].astype(np.float32), matrix)[0]
    mask = np.zeros((height, width), np.uint8)
    shift = 4
    cv2.fillPoly(mask, [np.rint(points * (1 << shift)).astype(np.int32)], 255, cv2.LINE_AA, shift)
    return np.asarray(mask / 255, np.float32)


def _window(corners: Corners, width: int, height: int, margin: int) -> tuple[slice, slice]:
    """Rows and columns around corners, within the frame and never empty."""
    left, top, right, bottom = box_of(corners)
    x0, y0 = int(np.clip(left - margin, 0, width - 1)), int(np.clip(top - margin, 0, height - 1))
    x1, y1 = int(np.clip(right + margin + 1, x0 + 1, width)), int(np.clip(bottom + margin + 1, y0 + 1, height))
    return slice(y0, y1), slice(x0, x1)


def _around(frame: FieldFrame) -> tuple[Picture, Corners]:
    """The part of the frame around the object, on whole blocks of the camera's JPEG."""
    height, width = frame.rgb.shape[:2]
    left, top, right, bottom = box_of(frame.corners)
    x0, y0 = (max(int(v - _MARGIN) // 16 * 16, 0) for v in (left, top))
    x1, y1 = min(int(right) + _MARGIN, width), min(int(bottom) + _MARGIN, height)
    moved = tuple((x - x0, y - y0) for x, y in frame.corners)
    return np.ascontiguousarray(frame.rgb[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]), moved


def _roll(flat: NDArray[np.float64], seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """The turn in the picture that fits best (Kabsch), (2, 2)."""
    u, _, v = np.linalg.svd((seen - seen.mean(0)).T @ flat)
    sign = np.diag([1.0, float(np.sign(np.linalg.det(u @ v)) or 1.0)])
    return np.asarray(u @ sign @ v, np.float64)


def _inside(corners: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    """Moved so that they lie in the frame, where they fit."""
    low, high = corners.min(0), corners.max(0)
    room = np.array([width - 1, height - 1], np.float64)
    shift = np.maximum(-low, 0) - np.maximum(high - room, 0)
    return corners + np.where(high - low <= room, shift, room / 2 - (low + high) / 2)
