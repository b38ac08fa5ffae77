"""Live sources: what is skipped, queued, limited and compared."""

import time
from collections.abc import Iterator
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.camera import Applied, Captured, Lost, open_source
from edgeguard.demo.assets import bundled_model
from edgeguard.errors import DeviceError
from edgeguard.guard import Proof
from edgeguard.model import load_model
from edgeguard.model.input_path import Prepared
from edgeguard.pipeline import Pipeline
from edgeguard.pipeline.core_share import CoreShare


class Paced:
    """A live source of gray frames."""

    name, applied = "paced", Applied()

    def __init__(self, count: int, fps: float, live: bool = True) -> None:
        self.count, self.fps, self.live, self.closed = count, fps, live, False

    def frames(self) -> Iterator[Captured | Lost]:
        rgb = np.full((120, 160, 3), 120, np.uint8)
        for index in range(self.count):
            if self.closed:
                return
            time.sleep(1 / self.fps)
            yield Captured(index, self.name, None, rgb, time.time(), "received")

    def close(self) -> None:
        self.closed = True


def test_every_nth_frame() -> None:
    for live in (True, False):
        with Pipeline(Paced(20, 200, live), load_model(bundled_model()), every=4, every_frame="wait") as pipeline:
            assert [result.frame for result in pipeline] == [0, 4, 8, 12, 16]
        assert pipeline.counters.skipped == 15 and pipeline.counters.captured == 20


def test_every_frame_of_a_fast_source_is_inferred_when_it_waits() -> None:
    with Pipeline(Paced(60, 2000), load_model(bundled_model()), every_frame="wait") as pipeline:
        assert [result.frame for result in pipeline] == list(range(60))
    assert pipeline.counters.dropped == 0


def test_a_rate_is_kept() -> None:
    with Pipeline(Paced(100, 100), load_model(bundled_model()), fps=10) as pipeline:
        began = time.monotonic()  # frames are counted when they are taken, all of them between here and there
        results = list(pipeline)
        took_s = time.monotonic() - began
    assert 4 <= len(results) <= 10 * took_s + 1.25 and pipeline.counters.dropped > 70
    assert np.median([result.age_ms or 0 for result in results]) < 100  # not a frame of the period before


def test_results_are_fresh_when_the_model_is_slow() -> None:
    """The frame is taken so late that it is prepared just when the model is free."""
    model = load_model(bundled_model())
    run = model.run

    def slow(tensor: NDArray[np.generic]) -> tuple[NDArray[np.float32], ...]:
        time.sleep(0.12)
        return run(tensor)

    with mock.patch.object(model, "run", slow), Pipeline(Paced(60, 25), model) as pipeline:
        ages = [result.age_ms or 0 for result in pipeline][3:]
    assert len(ages) > 10 and np.median(ages) < 120 + 40 + 25 and min(ages) >= 120


def test_a_camera_pays_for_every_thread_of_the_graph() -> None:
    class Ledger(CoreShare):
        spent_s = 0.0

        def spend(self, seconds: float) -> None:
            self.spent_s += seconds
            super().spend(seconds)

    ledger = Ledger(1.0, 1.0)
    with Pipeline(Paced(6, 50), load_model(bundled_model(), threads=2), share=ledger) as pipeline:
        infer_s = sum(result.infer_ms for result in pipeline) / 1e3
    assert ledger.spent_s >= 2 * infer_s > 0


def test_frames_do_not_wait_on_the_way_for_a_share_that_is_used_up() -> None:
    """Of 80 frames in two seconds few are inferred, and all are read as they come: the results are of the latest."""

    class Dear(CoreShare):
        def spend(self, seconds: float) -> None:
            super().spend(0.4)  # two results a second

    share = Dear(0.8, 0.5)
    began = time.monotonic()
    with Pipeline(Paced(80, 40), load_model(bundled_model(), threads=1), share=share) as pipeline:
        results = list(pipeline)
    assert time.monotonic() - began < 8  # 40 s where reading waits as well
    assert 0 < len(results) < 20 and pipeline.counters.captured == 80


def test_the_undefended_path_runs_on_a_budget() -> None:
    with Pipeline(Paced(20, 500), load_model(bundled_model()), compare_every=5, every_frame="wait") as pipeline:
        compared = [result.frame for result in pipeline if result.undefended is not None]
    assert compared == [0, 5, 10, 15] and pipeline.counters.compared == 4


@pytest.mark.parametrize(("takes_s", "fewest", "most"), [(0.03, 1, 2), (0.0, 15, 30)])
def test_proofs_take_a_twentieth_of_a_live_sources_time(takes_s: float, fewest: int, most: int) -> None:
    """A dear one is made every so often, a cheap one for each frame; files get one for each frame."""
    proof = Proof(1.5, {1: 1.0, 2: 0.5, 3: 0.0, 4: 0.0})

    def looked_at_for(prepared: Prepared) -> Proof:
        until = time.thread_time() + takes_s
        while time.thread_time() < until:
            pass
        return proof

    with mock.patch.object(Prepared, "proof", looked_at_for):
        with Pipeline(Paced(30, 50), load_model(bundled_model()), every_frame="wait") as pipeline:
            results = list(pipeline)
        looked_at = [result for result in results if result.proven and result.proven_2 is False]
        assert {result.passes for result in results} == {2} and fewest <= len(looked_at) <= most
        assert all((result.proven is None) == (result.certified_share is None) for result in results)
        with Pipeline(Paced(4, 500, live=False), load_model(bundled_model())) as pipeline:
            assert all(result.proven is not None for result in pipeline)


def test_leaving_early_and_losses_without_reopening() -> None:
    source = Paced(1000, 100)
    with Pipeline(source, load_model(bundled_model())) as pipeline:
        for result in pipeline:
            if result.frame > 5:
                break
    assert source.closed
    with pytest.raises(DeviceError, match="no whole frame for 0.3 s"):
        with Pipeline(Paced(3, 0.5), load_model(bundled_model()), lost_after_s=0.3) as pipeline:
            list(pipeline)
    assert open_source("synthetic:cards?frames=1").live is False
