"""A virtual field: sheets rendered in a scene with known truth, as a camera that can be recorded from.

Renderings do not predict what a printed sheet does in front of a real camera. They are for tests, for planning, and to
show the way from printer to report without a printer.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import parse_qsl

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.camera.source import Applied, Captured
from edgeguard.errors import InputError
from edgeguard.fieldtest.sheets.cutout import Cutout
from edgeguard.fieldtest.sheets.sheet import Picture, Sheet
from edgeguard.fieldtest.sheets.tags import camera_matrix
from edgeguard.fieldtest.virtual.backgrounds import behind, read_backgrounds
from edgeguard.fieldtest.virtual.bending import ThinPlate, drawn_bend
from edgeguard.fieldtest.virtual.raster import PrintedColors, field_raster

PREFIX = "synthetic:field"
Route = Literal["stand", "drive-by"]
Light = Literal["bright", "dim", "warm"]
#: gain, warmth of each light.
_LIGHTS: dict[Light, tuple[float, float]] = {"bright": (1.0, 1.0), "dim": (0.6, 1.0), "warm": (0.85, 1.12)}
#: Their names.
LIGHTS = tuple(_LIGHTS)
#: Of an address: the numbers and whole numbers that it may hold, and between what they lie.
_NUMBERS = {"distance": (1.0, 1e6), "angle": (-89.0, 89.0), "exposure": (0.0, 100.0), "bend": (0.0, 0.2)}
_COUNTS = {"frames": (1, 100_000), "seed": (0, 1 << 62), "width": (16, 8192), "height": (16, 8192)}
_CARD_MM = 120.0  # side of a card as it is printed
_ROOM = 0.08  # around a bent object, share of its side
_KNOTS = 33


@dataclass(frozen=True)
class Stand:
    """Where a sheet stands before the camera, and what the camera is like.

    Attributes:
        distance_mm: from the lens to the object's middle.
        angle_deg: between the sheet's normal and the line of sight.
        tilt_deg: direction of that angle: 0 turns about the vertical.
        roll_deg: in the picture.
        x, y: where the object's middle is seen, from the middle of the picture, in its heights.
        seed: of background and noise.
        noise: standard deviation, levels.
        blur: standard deviation, pixels at 640 across.
        exposure: factor; above about 1.3 white paper burns out.
        bend: of a soft object, see `bending.drawn_bend`; 0 for a flat one.
    """

    distance_mm: float
    angle_deg: float = 0.0
    tilt_deg: float = 0.0
    roll_deg: float = 0.0
    x: float = 0.0
    y: float = 0.0
    seed: int = 0
    light: Light = "bright"
    noise: float = 2.0
    blur: float = 0.6
    exposure: float = 1.0
    bend: float = 0.0


def light_named(name: str) -> Light | None:
    """One of the lights that can be rendered, by its name; None for any other."""
    return next((light for light in _LIGHTS if light == name), None)


def placed_at(rng: np.random.Generator, distance_mm: float, angle_deg: float, light: Light) -> Stand:
    """One placement by hand: near the wanted distance and angle, a little turned and off the middle."""
    return Stand(
        distance_mm=distance_mm * float(rng.uniform(0.96, 1.04)),
        angle_deg=max(angle_deg + float(rng.uniform(-3, 3)), 0.0),
        tilt_deg=float(rng.uniform(-12, 12)),
        roll_deg=float(rng.uniform(-4, 4)),
        x=float(rng.uniform(-0.06, 0.06)),
        y=float(rng.uniform(-0.03, 0.03)),
        seed=int(rng.integers(1 << 31)),
        light=light,
        noise=float(rng.uniform(1, 3)),
        blur=float(rng.uniform(0.4, 0.9)),
    )


class SheetPainter:
    """Renders one sheet, or a real object with its paper; keeps it at halved sizes, so that warping skips no pixels.

    Args:
        sheet, picture: see `build.made_sheet`.
        cutout: the picture of a real object that is not printed.
        photographs: what may stand behind it; rendered clutter without any.
        printer: what a printer makes of colours; see `raster.PrintedColors`.
    """

    def __init__(
        self,
        sheet: Sheet,
        picture: Picture,
        *,
        cutout: Cutout | None = None,
        photographs: Sequence[Picture] = (),
        printer: PrintedColors | None = None,
    ) -> None:
        raster = field_raster(sheet, picture, cutout, printer)
        self.layout, self.photographs = sheet.layout, tuple(photographs)
        self.size_mm = (sheet.object_mm, sheet.object_mm if sheet.about is None else sheet.about.height_mm)
        self.corners_mm = raster.corners_mm
        self._levels = [(raster.rgb, raster.alpha)]
        while min(self._levels[-1][0].shape[:2]) > 100:
            self._levels.append(_halved(*self._levels[-1]))

    def frame(self, stand: Stand, width: int = 640, height: int = 480, shot: int = 0) -> Picture:
        """What the camera sees, RGB; `shot` counts the frames of one placement, which differ by noise and a tremor."""
        stand = replace(stand, x=stand.x + _tremor(stand.seed, shot, 0), y=stand.y + _tremor(stand.seed, shot, 1))
        return _seen(self.scene(stand, width, height), stand, shot)

    def scene(self, stand: Stand, width: int, height: int) -> NDArray[np.float32]:
        """Background and sheet before light, lens and sensor, levels."""
        scene = behind(self.photographs, np.random.default_rng(stand.seed), width, height)
        corners = project(self.corners_mm, stand, width, height)
        edge = float(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1).max())
        fitting = [level for level in self._levels if max(level[0].shape[:2]) >= 1.2 * edge]
        rgb, alpha = fitting[-1] if fitting else self._levels[0]
        page, rows, columns = rgb.astype(np.float32), rgb.shape[0], rgb.shape[1]
        flat = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32) - 0.5
        matrix = cv2.getPerspectiveTransform(flat, corners)
        share: NDArray[np.float32] = np.ones((rows, columns), np.float32)
        if alpha is not None:
            share = np.asarray(alpha / 255, np.float32)
        bend = self.bend(stand)
        if alpha is None and bend is None:
            warped = cv2.warpPerspective(page, matrix, (width, height), flags=cv2.INTER_LINEAR)
            cover = cv2.warpPerspective(share, matrix, (width, height))[:, :, None]
            return np.asarray(scene * (1 - cover) + warped * cover, np.float32)
        page *= share[:, :, None]  # from here on colours stand times their share
        if bend is not None:
            page, share, shift = self._bent(page, share, bend)
            matrix = matrix @ np.array([[1, 0, -shift], [0, 1, -shift], [0, 0, 1]], np.float64)
        warped = cv2.warpPerspective(page, matrix, (width, height), flags=cv2.INTER_LINEAR)
        cover = cv2.warpPerspective(share, matrix, (width, height))[:, :, None]
        return np.asarray(scene * (1 - cover) + warped, np.float32)

    def _bent(
        self, page: NDArray[np.float32], share: NDArray[np.float32], bend: ThinPlate
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
        """Page and share with room for what bulges out, and how many pixels of it stand on each side."""
        rows, columns = share.shape
        room = round(_ROOM * max(rows, columns))
        (left, top), (right, bottom) = self.corners_mm[0, :2], self.corners_mm[2, :2]
        scale = np.array([columns / (right - left), rows / (bottom - top)])
        across, down = np.linspace(-room, columns - 1 + room, _KNOTS), np.linspace(-room, rows - 1 + room, _KNOTS)
        plane = (np.stack(np.meshgrid(across, down), -1) + 0.5) / scale + (left, top)
        source = (bend.moved(plane) - (left, top)) * scale - 0.5
        size = columns + 2 * room, rows + 2 * room
        knot_x = np.broadcast_to(np.linspace(0, _KNOTS - 1, size[0], dtype=np.float32)[None], size[::-1])
        knot_y = np.broadcast_to(np.linspace(0, _KNOTS - 1, size[1], dtype=np.float32)[:, None], size[::-1])
        maps = cv2.remap(
            source.astype(np.float32), np.ascontiguousarray(knot_x), np.ascontiguousarray(knot_y), cv2.INTER_LINEAR
        )
        bent = cv2.remap(page, maps[:, :, 0], maps[:, :, 1], cv2.INTER_LINEAR)
        return np.asarray(bent, np.float32), np.asarray(
            cv2.remap(share, maps[:, :, 0], maps[:, :, 1], cv2.INTER_LINEAR), np.float32
        ), room  # fmt: skip

    def bend(self, stand: Stand) -> ThinPlate | None:
        """How the object is bent where it stands so; None for a flat one."""
        if stand.bend <= 0:
            return None
        return drawn_bend(np.random.default_rng([stand.seed, 3]), *self.size_mm, stand.bend)


def _halved(rgb: Picture, alpha: NDArray[np.uint8] | None) -> tuple[Picture, NDArray[np.uint8] | None]:
    size = (rgb.shape[1] // 2, rgb.shape[0] // 2)
    smaller = None if alpha is None else np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8), smaller


def project(points_mm: NDArray[np.float64], stand: Stand, width: int, height: int) -> NDArray[np.float32]:
    """Points of the sheet (millimetres from the object's middle) to pixels.

    The sheet is turned about the object's middle from the attitude in which its normal is the line of sight.
    """
    camera = camera_matrix(width, height)
    focal = camera[0, 0]
    sight = np.array([stand.x * height / focal, stand.y * height / focal, 1.0])
    sight /= np.linalg.norm(sight)
    tilt, angle, roll = np.deg2rad([stand.tilt_deg, stand.angle_deg, stand.roll_deg])
    turn = _between(np.array([0.0, 0.0, 1.0]), sight)
    axis = np.array([np.sin(tilt), np.cos(tilt), 0.0])
    turn = turn @ cv2.Rodrigues(axis * angle)[0] @ cv2.Rodrigues(np.array([0.0, 0.0, roll]))[0]
    seen = points_mm @ turn.T + sight * stand.distance_mm
    flat = seen @ camera.T
    return np.asarray(flat[:, :2] / flat[:, 2:], np.float32)


def _between(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The shortest rotation from one unit vector to another."""
    axis = np.cross(a, b)
    sine = float(np.linalg.norm(axis))
    return np.eye(3) if sine < 1e-12 else np.asarray(cv2.Rodrigues(axis / sine * np.arcsin(sine))[0])


def _tremor(seed: int, shot: int, axis: int) -> float:
    return 0.0 if shot == 0 else float(np.random.default_rng([seed, shot, axis]).normal(0, 0.0015))


def light_of(stand: Stand, width: int, height: int) -> NDArray[np.float32]:
    """What each level is multiplied by, (h, w, 3): the lamp, its colour, and a slope across the picture."""
    gain, warmth = _LIGHTS[stand.light]
    slope = np.random.default_rng([stand.seed, 1]).uniform(-0.12, 0.12, 2)
    across, down = np.linspace(-1, 1, width)[None, :], np.linspace(-1, 1, height)[:, None]
    light = gain * stand.exposure * (1 + slope[0] * across + slope[1] * down)
    return np.asarray(light[:, :, None] * np.array([warmth, 1.0, 2 - warmth]), np.float32)


def _seen(scene: NDArray[np.float32], stand: Stand, shot: int) -> Picture:
    """Light, lens and sensor."""
    height, width = scene.shape[:2]
    lit = (scene * 0.92 + 6) * light_of(stand, width, height)  # paper is not white, ink not black
    lit = np.asarray(cv2.GaussianBlur(lit, (0, 0), max(stand.blur * width / 640, 0.2)), np.float32)
    lit += np.random.default_rng([stand.seed, 2, shot]).normal(0, stand.noise, lit.shape).astype(np.float32)
    return np.clip(np.rint(lit), 0, 255).astype(np.uint8)


class VirtualField:
    """A source that shows one sheet, as JPEGs of a camera; `truth` says where it stood.

    Args:
        painter: of the sheet.
        stands: one for each placement, in order.
        shots: frames of each placement.
        quality: of the camera's JPEGs (4:2:0).
    """

    live = False
    applied = Applied()

    def __init__(
        self,
        painter: SheetPainter,
        stands: list[Stand],
        *,
        shots: int = 1,
        size: tuple[int, int] = (640, 480),
        quality: int = 92,
    ) -> None:
        self.name = PREFIX
        self.painter, self.stands, self.shots, self.size, self.quality = painter, stands, shots, size, quality

    def __len__(self) -> int:
        return len(self.stands) * self.shots

    def truth(self, index: int) -> Stand:
        """Where the sheet stood in a frame."""
        return self.stands[index // self.shots]

    def frames(self) -> Iterator[Captured]:
        """Frames in order, each the camera's JPEG."""
        for index in range(len(self)):
            rgb = self.painter.frame(self.truth(index), *self.size, shot=index % self.shots)
            options = [cv2.IMWRITE_JPEG_QUALITY, self.quality]
            _, data = cv2.imencode(".jpg", np.ascontiguousarray(rgb[:, :, ::-1]), options)
            yield Captured(index, self.name, data.tobytes(), None, time.time(), "received")

    def close(self) -> None:
        """Nothing stays open."""


def drive_by(
    seed: int, frames: int = 30, near_mm: float = 350.0, far_mm: float = 1200.0, light: Light = "bright"
) -> list[Stand]:
    """An approach: from far to near, turning away at the end, as a sign beside a road does."""
    rng = np.random.default_rng(seed)
    base = placed_at(rng, far_mm, 5.0, light)
    along = np.linspace(0, 1, frames)
    distances = far_mm * (near_mm / far_mm) ** along
    return [
        replace(base, distance_mm=float(distance), angle_deg=float(5 + 40 * t**3), x=float(-0.1 + 0.15 * t))
        for t, distance in zip(along, distances, strict=True)
    ]


def open_virtual_field(spec: str) -> VirtualField:
    """A field from its address: `synthetic:field?card=stop&patch=FOLDER&path=drive-by`.

    Keys: `sheet` (a manifest) or `card` with `arm` or `patch` (a folder of `edgeguard patch make`); `path` (`stand` or
    `drive-by`); `distance` (mm; by default five sides of the object), `angle` (degrees), `light`, `exposure`, `frames`,
    `seed`, `width`, `height`; `bend` of a soft object, `backgrounds` (a folder of photographs).

    Raises:
        InputError: an unknown key or a value out of range.
    """
    values = dict(parse_qsl(spec.removeprefix(PREFIX).lstrip("?"), keep_blank_values=True))
    known = {"sheet", "card", "arm", "patch", "path", "light", "backgrounds", *_NUMBERS, *_COUNTS}
    if unknown := sorted(set(values) - known):
        raise InputError(f"{spec}: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
    light, path = light_named(values.get("light", "bright")), values.get("path", "stand")
    if light is None or path not in get_args(Route):
        raise InputError(f"{spec}: light is {' | '.join(get_args(Light))}, path is {' | '.join(get_args(Route))}")
    numbers = {
        key: float(_within(spec, key, values, float, *bounds)) for key, bounds in _NUMBERS.items() if key in values
    }
    counts = {key: int(_within(spec, key, values, int, *bounds)) for key, bounds in _COUNTS.items() if key in values}
    photographs = read_backgrounds(Path(values["backgrounds"]))[0] if "backgrounds" in values else ()
    sheet, picture, cutout = _shown(values)
    size = 1.0 if sheet.about is None else (sheet.about.width_mm * sheet.about.height_mm) ** 0.5 / _CARD_MM
    seed, frames = counts.get("seed", 0), counts.get("frames", 30)
    if path == "drive-by":
        stands = drive_by(seed, frames, 350.0 * size, 1200.0 * size, light=light)
    else:
        rng = np.random.default_rng(seed)
        distance, angle = numbers.get("distance", 600.0 * size), numbers.get("angle", 0.0)
        stands = [placed_at(rng, distance, angle, light) for _ in range(frames)]
    exposure, bend = numbers.get("exposure", 1.0), numbers.get("bend", 0.0)
    stands = [replace(stand, exposure=exposure, bend=bend) for stand in stands]
    painter = SheetPainter(sheet, picture, cutout=cutout, photographs=photographs)
    return VirtualField(painter, stands, size=(counts.get("width", 640), counts.get("height", 480)))


def _within(
    spec: str, key: str, values: dict[str, str], kind: type[int] | type[float], low: float, high: float
) -> float:  # fmt: skip
    try:
        value = kind(values[key])
    except ValueError as error:
        raise InputError(f"{spec}: {error}") from error
    if not low <= value <= high:  # NaN is not within
        raise InputError(f"{spec}: {key} is {low:g} to {high:g}, got {values[key]}")
    return value


def _shown(values: dict[str, str]) -> tuple[Sheet, Picture, Cutout | None]:
    """The sheet that an address names, its picture, and that of a real object."""
    from edgeguard.fieldtest.sheets.build import made_sheet, sheet_and_picture
    from edgeguard.fieldtest.sheets.patch_file import read_patch
    from edgeguard.fieldtest.sheets.subject import patch_subject, sheet_subject

    if "sheet" in values:
        sheet, picture = sheet_and_picture(Path(values["sheet"]))
        return sheet, picture, sheet_subject(sheet, Path(values["sheet"])).cutout
    patch = Path(values["patch"]) if "patch" in values else None
    about = None if patch is None else patch_subject(patch, read_patch(patch)[0])
    subject = about if about is not None and "card" not in values else values.get("card", "stop")
    sheet, picture = made_sheet(subject, values.get("arm", "patch" if patch else "clean"), patch=patch)
    return sheet, picture, None if isinstance(subject, str) else subject.cutout
