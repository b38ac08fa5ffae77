"""Two interpreters side by side: the same answers in the same order, and none where there cannot be two."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.camera import Applied, Captured, Lost
from edgeguard.demo.assets import bundled_model
from edgeguard.model import load_model
from edgeguard.model.runtime import GraphRunner
from edgeguard.model.turns import Turns
from edgeguard.pipeline import Pipeline, lanes
from edgeguard.pipeline.lanes import Lanes

COUNT = 40


class Pictures:
    """Frames that are all different."""

    name, applied = "pictures", Applied()

    def __init__(self, live: bool) -> None:
        self.live, self.closed = live, False
        generator = np.random.default_rng(0)
        self.frames_ = [generator.integers(0, 256, (96, 128, 3), np.uint8) for _ in range(COUNT)]

    def frames(self) -> Iterator[Captured | Lost]:
        for index, rgb in enumerate(self.frames_):
            yield Captured(index, self.name, None, rgb, 0.0, "received")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads of every interpreter that is made meanwhile."""
    made: list[int] = []
    init = GraphRunner.__init__

    def counted(self: GraphRunner, model: bytes, *, threads: int = 1, **more: Any) -> None:
        made.append(threads)
        init(self, model, threads=threads, **more)

    monkeypatch.setattr(GraphRunner, "__init__", counted)
    return made


@pytest.mark.parametrize("live", [True, False])
def test_answers_and_order_are_those_of_one_interpreter(live: bool, loaded: list[int]) -> None:
    one, two = load_model(bundled_model(), threads=1), load_model(bundled_model(), threads=4)
    loaded.clear()
    results = []
    for model in (one, two):
        with Pipeline(Pictures(live), model, every_frame="wait") as pipeline:
            results.append(list(pipeline))
    assert loaded == [2, 2]  # four threads shared by two; one thread has nothing to share
    alone, beside = results
    assert [result.frame for result in beside] == list(range(COUNT))
    for first, second in zip(alone, beside, strict=True):
        assert first.prediction == second.prediction and second.infer_ms > 0


def test_few_frames_and_the_newest_frame_have_one_interpreter(loaded: list[int]) -> None:
    model = load_model(bundled_model(), threads=2)
    loaded.clear()
    source = Pictures(live=False)
    source.frames_ = source.frames_[: lanes._WARM]
    with Pipeline(source, model) as pipeline:
        assert len(list(pipeline)) == lanes._WARM
    with Pipeline(Pictures(live=True), model) as pipeline:
        list(pipeline)
    with Pipeline(Pictures(live=False), model, compare_every=2) as pipeline:
        assert len(list(pipeline)) == COUNT
    assert loaded == []


def test_where_there_cannot_be_two(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(bundled_model(), threads=2)
    assert model.beside(1) is not None
    assert model.in_turns(Turns()).beside(1) is None
    monkeypatch.setattr("edgeguard.model.interpreter.LARGEST_BESIDE", 1000)
    assert model.beside(1) is None
    tensor = np.zeros((1, *model.contract.input.shape), model.contract.input.dtype)
    with Lanes(model) as two:
        assert [two.submit(tensor) for _ in range(20)] == [None] * 20


def test_a_watched_graph_stays_alone() -> None:
    model = load_model(bundled_model(), threads=2, isolate="always")
    assert model.beside(1) is None


def test_a_frame_that_the_graph_fails_on_is_lost_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(bundled_model(), threads=2)
    run_raw = GraphRunner.run

    def fails_on_black(self: GraphRunner, tensor: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        if tensor.min() == tensor.max():
            raise RuntimeError("Node number 3 failed to invoke.")
        return run_raw(self, tensor)

    monkeypatch.setattr(GraphRunner, "run", fails_on_black)
    source = Pictures(live=False)
    source.frames_[20][:] = 0
    with Pipeline(source, model) as pipeline:
        seen = [result.frame for result in pipeline]
    assert seen == [index for index in range(COUNT) if index != 20]
    assert pipeline.counters.lost == 1 and "failed on this frame" in pipeline.losses[0].reason
