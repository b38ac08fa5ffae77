"""What a check found: a figure beside its threshold, and the files it points at, most suspect first."""

from dataclasses import asdict, dataclass
from typing import Any

from edgeguard.system.foreign import of_type

#: So many files of a finding are kept; the figure counts them all.
MOST_SUSPECTS = 2000


@dataclass(frozen=True)
class Suspect:
    """A file that a check points at.

    Attributes:
        name: below the data's folder.
        score: the higher, the more suspect; in the check's own unit.
        why: in a few words.
    """

    name: str
    score: float
    why: str


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: its name, as in the report and the JSON.
        says: the outcome in one sentence.
        value: the figure; None where the check could not be made, and `says` tells why.
        threshold: the highest value that passes; None where the check only ranks.
        suspects: files, most suspect first.
        excluded: so many of them, from the top, go onto the list for `train --exclude` where the check fails.
    """

    check: str
    says: str
    value: float | None = None
    threshold: float | None = None
    suspects: tuple[Suspect, ...] = ()
    excluded: int = 0

    @property
    def failed(self) -> bool:
        """Whether the figure is above its threshold."""
        return self.value is not None and self.threshold is not None and self.value > self.threshold

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "failed": self.failed}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Finding":
        """The inverse of `to_dict`.

        Raises:
            ValueError: it is none.
        """
        fields = {name: value for name, value in data.items() if name != "failed"}
        return of_type(cls, fields, with_nan=True)


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        root: the Merkle root of the data.
        images: how many there are.
        fitted: how many the checks that fit a classifier saw.
        findings: in the order of the checks.
    """

    root: str
    images: int
    fitted: int
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> list[str]:
        """The names of the checks above their thresholds."""
        return [finding.check for finding in self.findings if finding.failed]

    @property
    def excluded(self) -> list[str]:
        """The files that failed checks point at, each once."""
        failed = [finding for finding in self.findings if finding.failed]
        names = [one.name for finding in failed for one in finding.suspects[: finding.excluded]]
        return list(dict.fromkeys(names))


def ranked(suspects: list[Suspect]) -> tuple[Suspect, ...]:
    """Most suspect first, equal ones by name; as many as are kept."""
    return tuple(sorted(suspects, key=lambda one: (-one.score, one.name))[:MOST_SUSPECTS])


def not_made(check: str, why: str) -> Finding:
    """A check that could not be made."""
    return Finding(check, f"not made: {why}")
