"""Identities of objects, and the pairs that they come from."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.watch.assignment import cheapest_pairs
from edgeguard.watch.tracker import ByteTracker, overlaps

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())


@pytest.mark.parametrize("seed", range(30))
def test_pairs_are_those_of_scipy(seed: int) -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="scipy is not installed")
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(0, 12, 2)
    costs = rng.random((rows, columns))
    costs[rng.random(costs.shape) < 0.5] = 1.0
    clipped = np.minimum(costs, 0.8)
    expected = clipped[optimize.linear_sum_assignment(clipped)] - 0.8
    found = cheapest_pairs(costs, 0.8)
    assert len({i for i, _ in found}) == len({j for _, j in found}) == len(found)
    assert all(costs[pair] < 0.8 for pair in found)
    assert sum(costs[pair] - 0.8 for pair in found) == pytest.approx(expected.sum(), abs=1e-12)


def _ids(tracker: ByteTracker, *boxes: tuple[float, float, float, float], score: float = 0.9) -> list[int]:
    table = np.array(boxes, float).reshape(-1, 4)
    return tracker.update(table, np.full(len(table), score), np.zeros(len(table), np.int64)).tolist()


def test_two_that_cross_keep_their_identities() -> None:
    tracker, seen = ByteTracker(), []
    for n in range(40):
        a, b = (10 * n, 100, 10 * n + 60, 180), (400 - 10 * n, 130, 460 - 10 * n, 210)
        seen.append(_ids(tracker, a, b) if n % 3 else list(reversed(_ids(tracker, b, a))))
    assert seen[0] == seen[-1] and {tuple(ids) for ids in seen} == {tuple(seen[0])}


def test_one_that_is_hidden_comes_back_as_itself_and_later_as_another() -> None:
    tracker = ByteTracker()
    for n in range(10):
        (first,) = _ids(tracker, (n, 0, n + 40, 80))
    for _ in range(20):
        assert _ids(tracker) == []
    assert _ids(tracker, (29, 0, 69, 80)) == [first]
    for _ in range(31):
        _ids(tracker)
    assert [_ids(tracker, (60, 0, 100, 80))[0] for _ in range(2)] == [0, first + 1]


def test_a_low_score_prolongs_a_track_and_begins_none() -> None:
    tracker = ByteTracker()
    assert _ids(tracker, (0, 0, 40, 80)) == [1]
    assert _ids(tracker, (1, 0, 41, 80), score=0.2) == [1]
    assert [_ids(tracker, (1, 0, 41, 80), (200, 0, 240, 80), score=0.3)[1] for _ in range(5)] == [0] * 5


def test_boxes_of_other_classes_and_without_an_area_are_not_matched() -> None:
    tracker, box = ByteTracker(), np.array([[0.0, 0, 40, 80], [5, 5, 5, 9]])
    first = tracker.update(box, np.array([0.9, 0.9]), np.array([1, 1])).tolist()
    second = tracker.update(box, np.array([0.9, 0.9]), np.array([2, 1])).tolist()
    assert first == [1, 0] and second == [0, 0]


@pytest.mark.parametrize("scene", RECORDED["scenes"], ids=lambda scene: f"{scene['objects']} objects")
def test_recorded_detections_of_rendered_scenes_are_tracked_as_by_a_reference(scene: dict[str, object]) -> None:
    """The reference's figures were measured with motmetrics (benchmarks/tracking.py); ours are computed here."""
    found, truth = scene["found"], scene["truth"]
    assert isinstance(found, list) and isinstance(truth, list)
    tracker, misses, switches, false, real = ByteTracker(), 0, 0, 0, 0
    last: dict[int, int] = {}
    for boxes, objects in zip(found, truth, strict=True):
        table, wanted = np.array(boxes, float).reshape(-1, 5), np.array(objects, float).reshape(-1, 5)
        ids = tracker.update(table[:, :4], table[:, 4], np.zeros(len(table), np.int64))
        with_id = np.flatnonzero(ids)
        pairs = _kept_pairs(1 - overlaps(wanted[:, 1:], table[with_id, :4]), wanted, ids[with_id], last)
        real, misses, false = real + len(wanted), misses + len(wanted) - len(pairs), false + len(with_id) - len(pairs)
        for i, j in pairs:
            who, now = int(wanted[i, 0]), int(ids[with_id[j]])
            switches += last.get(who, now) != now
            last[who] = now
    mota = 1 - (misses + switches + false) / real
    assert mota == pytest.approx(scene["reference_mota"], abs=0.01)


def _kept_pairs(
    costs: NDArray[np.float64], wanted: NDArray[np.float64], ids: NDArray[np.int64], last: dict[int, int]
) -> list[tuple[int, int]]:
    """As the CLEAR measures say: who was matched stays matched while it may, then the cheapest of the others."""
    pairs: list[tuple[int, int]] = []
    for i in range(len(wanted)):
        for j in np.flatnonzero(ids == last.get(int(wanted[i, 0]), -1)):
            if costs[i, j] < 0.5 and int(j) not in {column for _, column in pairs}:
                pairs.append((i, int(j)))
    rows, columns = {i for i, _ in pairs}, {j for _, j in pairs}
    costs = costs.copy()
    costs[list(rows)], costs[:, list(columns)] = 1, 1
    return pairs + cheapest_pairs(costs, 0.5)
