"""Tracks of moving cards: rendered scenes, detections from their pixels, and what the tracker makes of them.

    python -m benchmarks.tracking OUT.json            # scenes with truth, detections, our identities, time a frame
    python benchmarks/tracking.py --judge OUT.json    # in an environment with motmetrics and a reference tracker

The first line needs EdgeGuard, the second `pip install motmetrics cjm-byte-track` in an environment of its own: the
metrics and the reference are other people's. Detections are the changed regions of each picture: cards that cover each
other give one box for two, edges flicker, some boxes are missed, some are of nothing.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SCENES, FRAMES, WIDTH, HEIGHT = 6, 240, 640, 480


def scene(seed: int, objects: int, frames: int = FRAMES) -> dict[str, Any]:
    """A rendered scene: for each frame the truth [[id, x1, y1, x2, y2]] and what is found [[x1, y1, x2, y2, score]]."""
    import cv2

    from edgeguard.scene.cards import CARDS, draw_card
    from edgeguard.scene.views import background

    rng = np.random.default_rng(seed)
    empty = np.clip(background(rng, WIDTH, HEIGHT), 0, 255).astype(np.uint8)
    cards = [cv2.resize(draw_card(CARDS[k % len(CARDS)]), (s, s)) for k, s in enumerate(rng.integers(36, 84, objects))]
    start, end = rng.uniform(0, 0.35, (objects, 2)), rng.uniform(0.65, 1, (objects, 2))
    turned = rng.random(objects) < 0.5
    start[turned], end[turned] = end[turned], start[turned].copy()
    phase, first = rng.uniform(0, 6.28, objects), rng.integers(0, frames // 4, objects)
    truth, found = [], []
    for frame in range(frames):
        picture, here = empty.copy(), []
        for k in range(objects):
            t = (frame - first[k]) / (frames - frames // 4)
            if not 0 <= t <= 1:
                continue
            side = cards[k].shape[0]
            place = start[k] + (end[k] - start[k]) * t + 0.03 * np.sin(phase[k] + 8 * t)
            x, y = (np.clip(place, 0, 1) * [WIDTH - side, HEIGHT - side]).astype(int)
            picture[y : y + side, x : x + side] = cards[k]
            here.append([k + 1, int(x), int(y), int(x + side), int(y + side)])
        noisy = picture + rng.normal(0, 3, picture.shape)
        changed = (np.abs(noisy - empty).max(axis=2) > 24).astype(np.uint8)
        changed = cv2.morphologyEx(changed, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
        _, _, stats, _ = cv2.connectedComponentsWithStats(changed)
        boxes = [(x, y, x + w, y + h, min(a / (w * h), 1)) for x, y, w, h, a in stats[1:].tolist() if a > 200]
        seen = [[*np.round(np.array(box[:4]) + rng.normal(0, 1.5, 4), 2).tolist(),
                 round(float(np.clip(0.95 * box[4] - abs(rng.normal(0, 0.12)), 0.05, 1)), 3)]
                for box in boxes if rng.random() > 0.05]  # fmt: skip
        if rng.random() < 0.1:
            x, y = rng.uniform(0, 500), rng.uniform(0, 400)
            seen.append([round(x, 2), round(y, 2), round(x + 40, 2), round(y + 40, 2), round(rng.uniform(0.1, 0.7), 3)])
        truth.append(here)
        found.append(seen)
    return {"objects": objects, "truth": truth, "found": found}


def tracked(found: list[list[list[float]]]) -> list[list[int]]:
    """Our identity of each detection."""
    from edgeguard.watch.tracker import ByteTracker

    tracker, said = ByteTracker(), []
    for boxes in found:
        table = np.array(boxes, float).reshape(-1, 5)
        said.append(tracker.update(table[:, :4], table[:, 4], np.zeros(len(table), np.int64)).tolist())
    return said


def milliseconds(objects: int = 20, frames: int = 300) -> dict[str, float]:
    """Median and 99th percentile of a frame with so many objects."""
    from edgeguard.watch.tracker import ByteTracker

    rng, tracker, times = np.random.default_rng(1), ByteTracker(), []
    place, speed = rng.uniform(0, 600, (objects, 2)), rng.normal(0, 3, (objects, 2))
    for _ in range(frames):
        place += speed
        speed[(place < 0) | (place > 600)] *= -1
        corners = place + rng.normal(0, 1, place.shape)
        boxes = np.concatenate([corners, corners + 60], axis=1)
        began = time.perf_counter()
        tracker.update(boxes, rng.uniform(0.3, 1, objects), np.zeros(objects, np.int64))
        times.append(1e3 * (time.perf_counter() - began))
    return {"median": round(float(np.median(times)), 3), "p99": round(float(np.percentile(times, 99)), 3)}


def judge(path: Path) -> None:
    """MOTA, IDF1 and switches of ours and of the reference, over all scenes."""
    import motmetrics
    from cjm_byte_track.core import BYTETracker

    vars(np)["asfarray"] = lambda values: np.asarray(values, float)  # motmetrics wants numpy 1
    host, books, names = motmetrics.metrics.create(), [], []
    for number, one in enumerate(json.loads(path.read_text())["scenes"]):
        reference = BYTETracker(track_thresh=0.5, track_buffer=30, match_thresh=0.8, frame_rate=30)
        both = {"ours": motmetrics.MOTAccumulator(auto_id=True), "reference": motmetrics.MOTAccumulator(auto_id=True)}
        for truth, found, ids in zip(one["truth"], one["found"], one["ids"], strict=True):
            table = np.array(found, float).reshape(-1, 5)
            theirs = reference.update(table, (HEIGHT, WIDTH), (HEIGHT, WIDTH))
            said = {
                "ours": [(i, *box[:4]) for i, box in zip(ids, found, strict=True) if i],
                "reference": [(t.track_id, *t.tlbr) for t in theirs if t.is_activated],
            }
            for who, rows in said.items():
                real, seen = np.array(truth, float).reshape(-1, 5), np.array(rows, float).reshape(-1, 5)
                sized = [np.hstack([r[:, 1:3], r[:, 3:5] - r[:, 1:3]]) for r in (real, seen)]
                costs = motmetrics.distances.iou_matrix(*sized, max_iou=0.5)
                both[who].update(real[:, 0].astype(int), seen[:, 0].astype(int), costs)
        books += list(both.values())
        names += [f"{who} {number}" for who in both]
    wanted = ["num_frames", "mota", "idf1", "num_switches", "num_false_positives", "num_misses"]
    for who in ("ours", "reference"):
        chosen = [(b, n) for b, n in zip(books, names, strict=True) if n.startswith(who)]
        table = host.compute_many(
            [b for b, _ in chosen], metrics=wanted, names=[n for _, n in chosen], generate_overall=True
        )
        print(table.to_string(), "\n")


if __name__ == "__main__":
    if sys.argv[1] == "--judge":
        judge(Path(sys.argv[2]))
    else:
        made = [scene(seed, objects) for seed, objects in enumerate((3, 5, 8, 12, 16, 20)[:SCENES])]
        for each in made:
            each["ids"] = tracked(each["found"])
        Path(sys.argv[1]).write_text(json.dumps({"scenes": made}))
        print(json.dumps(milliseconds()))
