"""Events on the virtual field: appearances with known truth, clips, and empty scenes.

    python -m benchmarks.events [--appearances 100] [--empty-minutes 60]

Cards appear before the camera for a known number of frames at 5 frames a second; between them the scene is empty. The
bundled model, its guard, the rule and the recorder are those of a run. Time is that of the frames: nothing waits.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeguard.camera.source import Applied, Captured
from edgeguard.demo.assets import bundled_model
from edgeguard.fieldtest.sheets.build import made_sheet
from edgeguard.fieldtest.virtual.field import SheetPainter, placed_at
from edgeguard.model import load_model
from edgeguard.run.runner import run
from edgeguard.run.settings import Settings
from edgeguard.scene.views import View, render
from edgeguard.watch.rules import EventRule, Rules

FPS, SIZE = 5.0, (480, 360)
RULE = EventRule("card", score=0.8, frames=3, hold=1.0, record=True, before=1.0, after=0.6)


class Field:
    """Empty scenes and cards, as JPEGs of a camera; `truth` has the first and last frame of each appearance."""

    live, applied, name = False, Applied(), "virtual field"

    def __init__(self, appearances: int, empty_frames: int, seed: int = 1) -> None:
        self.appearances, self.empty_frames, self.seed = appearances, empty_frames, seed
        self.truth: list[tuple[int, int, str]] = []

    def frames(self) -> Iterator[Captured]:
        """First the appearances, then the empty scenes."""
        for index, picture in enumerate(self._pictures()):
            jpeg = cv2.imencode(".jpg", np.ascontiguousarray(picture[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
            yield Captured(index, self.name, jpeg.tobytes(), None, 1e9 + index / FPS, "source")

    def _pictures(self) -> Iterator[Any]:
        rng, index = np.random.default_rng(self.seed), 0
        cards = ("stop", "no entry", "yield", "danger", "left", "crossing")
        painters = {card: SheetPainter(*made_sheet(card, "clean")) for card in cards}
        for number in range(self.appearances):
            seed, card = int(rng.integers(1 << 30)), cards[number % len(cards)]
            for picture in _empty(rng, seed, int(rng.integers(14, 22))):
                yield picture
                index += 1
            count = int(rng.integers(1, 13))
            stand = replace(placed_at(rng, 420.0, 8.0, "bright"), seed=seed)
            self.truth.append((index, index + count - 1, card))
            for shot in range(count):
                yield painters[card].frame(stand, *SIZE, shot=shot)
                index += 1
        while index < self.empty_frames + (self.truth[-1][1] if self.truth else 0):
            for picture in _empty(rng, int(rng.integers(1 << 30)), 300):  # a minute of each scene
                yield picture
                index += 1

    def close(self) -> None:
        """Nothing stays open."""


def _empty(rng: np.random.Generator, seed: int, count: int) -> Iterator[Any]:
    scene = render(View(None, 3.0, 0, 0, 0, 0, 0, seed, noise=0.0), *SIZE).astype(np.float32)
    noise = rng.normal(0, 2, (6, *scene.shape)).astype(np.float32)
    for _ in range(count):
        yield np.clip(np.rint(scene + noise[int(rng.integers(6))]), 0, 255).astype(np.uint8)


def main() -> None:
    """Print what was found, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--appearances", type=int, default=100)
    parser.add_argument("--empty-minutes", type=float, default=60)
    said = parser.parse_args()
    field = Field(said.appearances, round(60 * FPS * said.empty_minutes))
    seen: dict[int, str] = {}
    events: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(source="field", rules=Rules(events=(RULE,)), record=f"{folder}/e", record_quota_mb=5000)

        def shown(result: Any) -> None:
            best = result.prediction.best
            seen[result.frame] = best.label if best is not None and best.score >= RULE.score else "background"
            for event in result.events:
                events[event.id] = event

        outcome = run(settings, load_model(bundled_model()), lambda: field, shown=shown)
        clips = {path.name: _clip(path) for path in Path(f"{folder}/e").iterdir()}
    long = [one for one in field.truth if one[1] - one[0] + 1 > RULE.frames]
    found = [one for one in long if any(one[0] <= event.frame <= one[1] for event in events.values())]
    # What a perfect rule makes of what the model said: a hit where it said one thing in enough frames in a row.
    sayable = [one for one in long if _longest(seen, *one[:2]) >= RULE.frames]
    false = [e for e in events.values() if not any(a - 1 <= e.frame <= b for a, b, _ in field.truth)]
    in_empty = [e for e in false if e.frame > field.truth[-1][1]]
    off = [_off(clips[event.id], event) for event in events.values()]
    worst = [round(float(max(one)), 2) for one in zip(*off, strict=True)]
    print(json.dumps({
        "frames": outcome.pipeline.counters.frames, "appearances": len(field.truth), "longer than the rule": len(long),
        "events of these": len(found), "that the model saw in enough frames": len(sayable),
        "false among appearances": len(false) - len(in_empty), "false in empty scenes": len(in_empty),
        "empty minutes": said.empty_minutes, "clip off, frames": worst,
    }))  # fmt: skip


def _longest(seen: dict[int, str], first: int, last: int) -> int:
    best = row = 0
    for frame in range(first, last + 1):
        row = row + 1 if seen.get(frame, "background") != "background" else 0
        best = max(best, row)
    return best


def _clip(path: Path) -> tuple[float, float]:
    times = [json.loads(line)["time"] for line in (path / "results.jsonl").read_text().splitlines()]
    return times[0], times[-1]


def _off(clip: tuple[float, float], event: Any) -> tuple[float, float]:
    """How far a clip's ends are from those that the rule wants, in frames."""
    began, ended = event.began_at - RULE.before, event.ended_at + RULE.after
    return abs(clip[0] - began) * FPS, abs(clip[1] - ended) * FPS


if __name__ == "__main__":
    main()
