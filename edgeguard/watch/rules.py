"""What a configuration says of zones, masks, classes and events, and whether it fits the model and the cameras."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from edgeguard.errors import InputError
from edgeguard.settings.declare import TEXT, Words, key
from edgeguard.watch.zones import Polygon, checked_polygon

if TYPE_CHECKING:
    from edgeguard.model.contract import Contract

#: Names of cameras, zones and rules: they are parts of topics, folders and addresses.
NAME = Words(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$", "wants up to 32 letters, digits, - and _", "name")
ALARMS = Literal["patch", "disagreement", "certified", "unproven", "frozen", "refused"]
_POINTS: dict[str, Any] = {
    "type": "array", "minItems": 3,
    "items": {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}, "minItems": 2, "maxItems": 2},
}  # fmt: skip


def _points() -> Any:
    return key(
        "Corners in their order, in shares of the frame's width and height.", values="[[x, y], ...], 0 to 1",
        wants="wants points [x, y] in shares of the frame", check=checked_polygon, schema=_POINTS,
    )  # fmt: skip


def _of_camera() -> Any:
    return key("Only for the [[camera]] of this name.", None, words=NAME)


def _anchor() -> Any:
    return key("The point of a box that has to be inside: the middle of its lower side, or its middle.", "bottom")


@dataclass(frozen=True)
class Zone:
    """Where objects are counted, and to which events may be limited."""

    name: str = key("Of the zone.", words=NAME)
    points: Polygon = _points()
    camera: str | None = _of_camera()
    anchor: Literal["bottom", "center"] = _anchor()


@dataclass(frozen=True)
class Mask:
    """Where no object counts at all."""

    points: Polygon = _points()
    camera: str | None = _of_camera()
    anchor: Literal["bottom", "center"] = _anchor()


@dataclass(frozen=True)
class ClassLimits:
    """Which boxes of a class count."""

    label: str = key("The class.", words=TEXT)
    score: float = key("Least score.", 0.0, low=0, high=1)
    least_area: float = key("Least area of a box, in shares of the frame.", 0.0, low=0, high=1)
    most_area: float = key("Largest area of a box, in shares of the frame.", 1.0, low=0, high=1)


@dataclass(frozen=True)
class EventRule:
    """What begins an event, what ends it, and what is kept of it."""

    name: str = key("Of the rule: in topics, in names of folders, on the page.", words=NAME)
    camera: str | None = _of_camera()
    label: str | None = key("The class; without one any class but the background.", None, words=TEXT)
    alarm: ALARMS | None = key("Instead of a class: this alarm of the run.", None)
    zone: str | None = key("Only in the [[zone]] of this name.", None, words=NAME)
    score: float = key("Least score.", 0.5, low=0, high=1)
    frames: int = key("Consecutive results that show it before it begins.", 3, low=1, high=10_000, unit="results")
    stay: float = key("Seconds that one object has to be in the zone; wants track.", 0.0, low=0, high=86400, unit="s")
    hold: float = key("Seconds without it: it is over.", 3.0, low=0.1, high=3600, unit="s")
    cooldown: float = key("Seconds from its end before the next may begin.", 0.0, low=0, high=86400, unit="s")
    record: bool = key("Keep source frames, a film and a thumbnail in the recorder's folder.", False)
    before: float = key("Seconds of frames before it that are kept.", 3.0, low=0, high=60, unit="s")
    after: float = key("Seconds of frames after it that are kept.", 1.0, low=0, high=60, unit="s")
    retain_hours: float = key("Hours until what is kept goes; 0: when the quota is full.", 0.0, low=0, high=87600)


@dataclass(frozen=True)
class Rules:
    """All of it.

    Example:
        >>> Rules().is_empty
        True
    """

    zones: tuple[Zone, ...] = ()
    masks: tuple[Mask, ...] = ()
    classes: tuple[ClassLimits, ...] = ()
    events: tuple[EventRule, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing is watched for."""
        return not any(getattr(self, one.name) for one in fields(self))

    def of_camera(self, name: str) -> "Rules":
        """What holds for one camera."""
        zones, masks, events = (
            tuple(one for one in group if one.camera in (None, name)) for group in (self.zones, self.masks, self.events)
        )
        return Rules(zones, masks, self.classes, events)  # type: ignore[arg-type]  # each group keeps its kind

    def to_dict(self) -> dict[str, Any]:
        """For the page."""
        return asdict(self)

    def check(self, cameras: Sequence[str], *, track: bool, record: bool) -> None:
        """Refuse what contradicts itself.

        Args:
            cameras: names of the [[camera]] tables.
            track: objects have identities.
            record: there is a folder for recordings.

        Raises:
            InputError: names twice, names of nothing, keys that have no effect.
        """
        for kind, names in (("zone", [z.name for z in self.zones]), ("event", [e.name for e in self.events])):
            _refuse_twice(kind, names)
        _refuse_twice("class", [one.label for one in self.classes])
        for kind, group in (("zone", self.zones), ("mask", self.masks), ("event", self.events)):
            for one in group:
                if one.camera is not None and one.camera not in cameras:
                    raise InputError(f"[[{kind}]] names the camera {one.camera!r}; there is {_known(cameras)}")
        for limits in self.classes:
            if limits.least_area >= limits.most_area:
                raise InputError(f"[[class]] {limits.label!r}: least_area is not below most_area")
        for rule in self.events:
            if why := self._contradiction(rule, track, record):
                raise InputError(f"[[event]] {rule.name!r}: {why}")

    def _contradiction(self, rule: EventRule, track: bool, record: bool) -> str | None:
        zone = next((one for one in self.zones if one.name == rule.zone), None)
        if rule.zone is not None and zone is None:
            known = _known([one.name for one in self.zones])
            return f"there is no zone {rule.zone!r}; there is {known}: add a [[zone]] of its name"
        if zone is not None and zone.camera is not None and zone.camera != rule.camera:
            return f"its zone is of the camera {zone.camera!r}: say camera = {zone.camera!r}"
        if rule.alarm is not None and (rule.label is not None or rule.zone is not None or rule.stay):
            return "an alarm has no label, zone or stay"
        if rule.stay and (rule.zone is None or not track):
            return "stay wants a zone, and track = true"
        if rule.record and not record:
            return "record wants a folder: [recorder] record, or --record FOLDER"
        return None

    def check_model(self, contract: "Contract", classes: int) -> None:
        """Refuse what the model cannot say.

        Args:
            contract: of the model.
            classes: that it has, background included; 0 where that is not known.

        Raises:
            InputError: a label that it lacks; zones, masks and areas without boxes.
        """
        boxes = contract.task == "detect"
        if not boxes and (self.zones or self.masks or self.classes):
            raise InputError(f"zones, masks and classes are for detectors; this model's task is {contract.task}")
        labels = contract.labels or tuple(map(str, range(classes)))
        if contract.task == "keypoints":
            labels = ("pose",)
        if not labels:
            return
        named = [("class", one.label) for one in self.classes]
        named += [("event", rule.label) for rule in self.events if rule.label is not None]
        for kind, label in named:
            if label not in labels:
                raise InputError(f"[[{kind}]]: the model has no class {label!r}; it has {_known(labels)}")


def _refuse_twice(kind: str, names: Sequence[str]) -> None:
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise InputError(f"two tables [[{kind}]] are called {twice!r}: each needs a name of its own")


def _known(names: Sequence[str]) -> str:
    if not names:
        return "none"
    return ", ".join(map(repr, names[:12])) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
