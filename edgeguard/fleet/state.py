"""Which bundle a device runs: one small file, replaced as a whole, so that every instant has one answer."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from msgspec import DecodeError, Meta, json

from edgeguard.errors import DeviceError
from edgeguard.fleet.layout import Layout, write_durably
from edgeguard.fleet.manifest import Hash, Word
from edgeguard.system.foreign import read_bounded

_LARGEST = 1 << 16
#: Starts of a bundle on trial before the one before it comes back.
MOST_STARTS = 3
_FAILURES_KEPT = 16


@dataclass(frozen=True)
class Installed:
    """A bundle in a slot.

    Attributes:
        slot: a or b.
        name, version: of the bundle.
        manifest_sha256: of its `bundle.json`.
    """

    slot: Literal["a", "b"]
    name: Word
    version: Annotated[int, Meta(ge=1)]
    manifest_sha256: Hash

    @property
    def title(self) -> str:
        """`NAME-VERSION`."""
        return f"{self.name}-{self.version}"


@dataclass(frozen=True)
class Before:
    """What the run measured before the update; None where nothing is known.

    Attributes:
        age_p95_ms, infer_p95_ms: 95th percentiles.
        frames: it gave any.
        source_lost: its camera was lost.
    """

    age_p95_ms: float | None = None
    infer_p95_ms: float | None = None
    frames: bool = False
    source_lost: bool = False


@dataclass(frozen=True)
class Trial:
    """The current bundle is on trial.

    Attributes:
        starts: of the run since the switch.
        before: see `Before`.
    """

    starts: Annotated[int, Meta(ge=0)] = 0
    before: Before = Before()


@dataclass(frozen=True)
class Failure:
    """A bundle that did not stay.

    Attributes:
        name, version, manifest_sha256: of the bundle.
        why: in one line.
    """

    name: Word
    version: int
    manifest_sha256: Hash
    why: str


@dataclass(frozen=True)
class State:
    """Where a device stands.

    Attributes:
        current: what runs; None before the first bundle.
        previous: what came before, whole, to go back to.
        trial: set while `current` is on trial.
        highest: of each bundle's name the highest version that stayed; nothing lower is ever taken.
        failures: the last ones; the same bundle is not tried again.
    """

    schema: Literal[1] = 1
    current: Installed | None = None
    previous: Installed | None = None
    trial: Trial | None = None
    highest: dict[str, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()

    @property
    def idle_slot(self) -> Literal["a", "b"]:
        """The slot that nothing runs from."""
        return "b" if self.current is not None and self.current.slot == "a" else "a"

    def switched(self, new: Installed, before: Before) -> "State":
        """The new bundle is current, and on trial."""
        return replace(self, current=new, previous=self.current, trial=Trial(before=before))

    def committed(self) -> "State":
        """The current bundle stays."""
        assert self.current is not None
        highest = {**self.highest, self.current.name: max(self.current.version, self.highest.get(self.current.name, 0))}
        return replace(self, trial=None, highest=highest)

    def rolled_back(self, why: str) -> "State":
        """The bundle before is current again; without one there is none."""
        assert self.current is not None
        current = self.current
        failure = Failure(current.name, current.version, current.manifest_sha256, why[:200])
        kept = (*self.failures, failure)[-_FAILURES_KEPT:]
        return replace(self, current=self.previous, previous=None, trial=None, failures=kept)

    def started(self) -> "State":
        """The run was started once more while on trial."""
        return self if self.trial is None else replace(self, trial=replace(self.trial, starts=self.trial.starts + 1))


def read_state(layout: Layout) -> State:
    """The state of a device; that of a new one where nothing is written yet.

    Raises:
        DeviceError: the file is damaged.
    """
    if not layout.state.exists():
        return State()
    try:
        return json.decode(read_bounded(layout.state, _LARGEST, "the state"), type=State)
    except (DecodeError, RecursionError) as error:
        raise DeviceError(
            f"{layout.state} is damaged ({error}): move it away and install a bundle again (docs/fleet.md)"
        ) from error


def write_state(layout: Layout, state: State) -> None:
    """Replace the state; durable when this returns.

    Raises:
        DeviceError: the disk is full or cannot be written; the old state holds.
    """
    data = json.encode(state)
    try:
        write_durably(layout.state, data)
    except DeviceError:
        if not layout.reserve.exists():
            raise
        layout.reserve.unlink()  # a bundle that fills the disk does not keep the one before it from coming back
        write_durably(layout.state, data)
