"""What a device says of itself: one signed JSON object of at most 1 KB, every minute. No pictures, ever.

The signature is the last key, over the bytes before it. Whoever reads the object as JSON needs to know nothing of that.
"""

import base64
import math
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import DecodeError, json

from edgeguard.errors import EdgeGuardError, InputError
from edgeguard.fleet.identity import signature_holds
from edgeguard.fleet.layout import Layout, write_durably
from edgeguard.fleet.probation import RunStatus
from edgeguard.fleet.state import State
from edgeguard.system.foreign import parsing, read_bounded

LARGEST = 1024
_SIGNATURE = b',"sig":"'
_SHORT = 16  # digits of a hash that are sent
_MOST_LABELS = 8
_DAY_S, _DAYS_KEPT = 86400, 8
_STARTS_APART = 1_000_000
_LARGEST_MEMORY = 1 << 18
_SEQUENCE = re.compile(rb'\{"sequence":([0-9]{1,18})[,}]')  # it comes first


def message(device: str, sequence: int, state: State, status: RunStatus | None, **more: Any) -> dict[str, Any]:
    """The fields of a message.

    Args:
        device: its name.
        sequence: only grows.
        state: which bundle runs.
        status: how the run is; None where it says nothing.
        more: `free_mb`, `dropped_messages`, `drift`, `refused_update`.
    """
    current, failed = state.current, state.failures[-1] if state.failures else None
    fields: dict[str, Any] = {
        "v": 1, "device": device, "seq": sequence, "at": round(time.time()),
        "bundle": None if current is None else current.title, "slot": None if current is None else current.slot,
        "trial": state.trial is not None,
        "failed": None if failed is None else f"{failed.name}-{failed.version}: {failed.why}"[:160],
    }  # fmt: skip
    if status is not None:
        labels = Counter(status.labels).most_common(_MOST_LABELS)
        fields |= {
            "model": status.model[:_SHORT], "profile": None if status.profile is None else status.profile[:_SHORT],
            "up_s": round(status.uptime_s), "camera": status.camera, "frames": status.frames,
            "drops": status.dropped, "lost": status.lost, "refused": status.refused,
            "age_ms": _rounded(status.age_ms), "decode_ms": _rounded(status.decode_ms),
            "sanitize_ms": _rounded(status.sanitize_ms), "infer_ms": _rounded(status.infer_ms),
            "pass1": status.pass1, "certified": status.certified_share, "compared": status.compared,
            "disagreed": status.disagreements, "labels": {name[:20]: count for name, count in labels},
            "celsius": status.celsius, "limits": status.limits,
        }  # fmt: skip
    return fields | {name: value for name, value in more.items() if value is not None}


def signed(fields: Mapping[str, Any], key: Ed25519PrivateKey) -> bytes:
    """A message's bytes. One that would be too long loses its labels, and then what is least needed."""
    kept = dict(fields)
    for name in ("", "labels", "refused_update", "sanitize_ms", "decode_ms", "failed"):
        kept.pop(name, None)
        body = json.encode(kept)
        if len(body) + len(_SIGNATURE) + 90 <= LARGEST:
            break
    return body[:-1] + _SIGNATURE + base64.b64encode(key.sign(body)) + b'"}'


def verified(payload: bytes, public_key: bytes) -> dict[str, Any]:
    """The fields of a message that this key signed.

    Raises:
        InputError: too long, not signed by it, or no object.
    """
    if len(payload) > LARGEST:
        raise InputError(f"a message of {len(payload)} bytes, more than {LARGEST}")
    body, mark, end = payload.rpartition(_SIGNATURE)
    body += b"}"
    try:
        signature = base64.b64decode(end.removesuffix(b'"}'), validate=True)
    except ValueError:
        signature = b""
    if not mark or not signature_holds(public_key, signature, body):
        raise InputError("its signature is not the device's")
    with parsing("a message"):
        fields = json.decode(body)
        if not isinstance(fields, dict):
            raise TypeError("it is no object")
    return fields


def divergence(first: Mapping[str, int], second: Mapping[str, int]) -> float | None:
    """Jensen-Shannon distance of two histograms: 0 for equal shares, 1 for nothing in common; None where one is empty.

    The square root of the divergence in bits (Lin 1991; Endres and Schindelin 2003).

    Example:
        >>> divergence({"stop": 10}, {"stop": 3}), divergence({"stop": 1}, {"yield": 1})
        (0.0, 1.0)
    """
    totals = sum(first.values()), sum(second.values())
    if not all(totals):
        return None
    found = 0.0
    for label in set(first) | set(second):
        p, q = first.get(label, 0) / totals[0], second.get(label, 0) / totals[1]
        middle = (p + q) / 2
        found += sum(share * math.log2(share / middle) / 2 for share in (p, q) if share > 0)
    return round(math.sqrt(max(found, 0.0)), 4)


@dataclass
class Memory:
    """What telemetry keeps over restarts: the sequence, and how often each label came on each of eight days.

    Attributes:
        sequence: of the last message.
        days: labels by days since 1970.
    """

    sequence: int = 0
    days: dict[int, dict[str, int]] | None = None

    def next(self) -> int:
        """The next message's sequence."""
        self.sequence += 1
        return self.sequence

    def count(self, labels: Mapping[str, int], now: float) -> None:
        """Add labels of the last minute."""
        days = self.days = self.days or {}
        today = int(now // _DAY_S)
        kept = Counter(days.get(today, {}))
        kept.update(labels)
        days[today] = dict(kept)
        for day in [day for day in days if not 0 <= today - day < _DAYS_KEPT]:
            del days[day]

    def drift(self, now: float) -> float | None:
        """The distance of today's labels from those of the seven days before."""
        days, today = self.days or {}, int(now // _DAY_S)
        before = Counter[str]()
        for day, labels in days.items():
            if day != today:
                before.update(labels)
        return divergence(days.get(today, {}), before)


def read_memory(layout: Layout) -> Memory:
    """What was kept, with room for the messages of a start that a power cut ended; written at once.

    A file that is too large or damaged behind its beginning loses its days and not its sequence: a device that began to
    count anew would be refused as one that repeats itself.
    """
    try:
        found = json.decode(read_bounded(_file(layout), _LARGEST_MEMORY, "the memory"), type=Memory)
    except (EdgeGuardError, DecodeError, RecursionError):
        found = Memory(_kept_sequence(_file(layout)))
    found.sequence += _STARTS_APART
    write_memory(layout, found)
    return found


def write_memory(layout: Layout, memory: Memory) -> None:
    """Keep it. Of more labels than fit, the rarest of each day are left out.

    Raises:
        DeviceError: the disk cannot be written.
    """
    data, most = json.encode(memory), max(map(len, (memory.days or {}).values()), default=0)
    while len(data) > _LARGEST_MEMORY and most:
        most //= 2
        days = {day: dict(Counter(labels).most_common(most)) for day, labels in (memory.days or {}).items()}
        data = json.encode(Memory(memory.sequence, days))
    write_durably(_file(layout), data)


def _kept_sequence(path: Path) -> int:
    try:
        with open(path, "rb") as stream:
            found = _SEQUENCE.match(stream.read(64))
    except OSError:
        return 0
    return 0 if found is None else int(found[1])


def _file(layout: Layout) -> Path:
    return layout.root / "telemetry.json"


def _rounded(pair: tuple[float | None, float | None]) -> list[float | None]:
    return [None if value is None else round(value, 1) for value in pair]
