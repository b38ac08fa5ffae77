"""Which process a graph gets, and that relatives of public advisories end neither this process nor a trial's."""

from pathlib import Path

import numpy as np
import pytest
from model import crafted

from edgeguard.demo.assets import bundled_model
from edgeguard.errors import InputError
from edgeguard.model import isolation, load_model
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.harmless import objection
from edgeguard.model.isolation import Isolate, open_graph
from edgeguard.model.runtime import GraphRunner
from edgeguard.model.watched import WatchedRunner

RELATIVES = crafted.relatives()


def _opened(data: bytes, isolate: Isolate = "auto") -> tuple[object, str | None]:
    return open_graph(ModelFile(data), threads=1, isolate=isolate)


def test_who_runs_where(monkeypatch: pytest.MonkeyPatch) -> None:
    cases: tuple[tuple[bytes, Isolate, type, str | None], ...] = (
        (crafted.harmless(), "auto", GraphRunner, None),
        (crafted.harmless(), "never", GraphRunner, None),
        (crafted.harmless(), "always", WatchedRunner, "so it was chosen"),
        (crafted.divides(), "auto", WatchedRunner, "it has the operator FLOOR_MOD"),
        (crafted.divides(), "never", GraphRunner, None),
    )
    for data, isolate, kind, why in cases:
        runner, said = _opened(data, isolate)
        assert isinstance(runner, kind) and said == why
        if isinstance(runner, WatchedRunner):
            runner.close()


def test_a_harmless_graph_is_tried_once_and_ours_never(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    class Counted(WatchedRunner):
        def __init__(self, data: bytes, *, threads: int = 1, edgetpu: bool = False) -> None:
            tried.append(len(data))
            super().__init__(data, threads=threads, edgetpu=edgetpu)

    monkeypatch.setattr(isolation, "WatchedRunner", Counted)
    monkeypatch.setattr(isolation, "_tried", set())
    data = crafted.harmless(16, 16)
    for _ in range(2):
        _opened(data)
    _opened(bundled_model().read_bytes())
    assert tried == [len(data)]


def test_options_of_advisories_are_objected_to_before_anything_runs() -> None:
    said = {name: objection(ModelFile(data)) for name, data in RELATIVES.items()}
    runs_here = {name for name, words in said.items() if words is None}
    assert runs_here == {"CONV_2D no group", "GATHER index -1", "GATHER index 10^9"}, said  # the trial refuses these
    assert said["SPLIT into 0"] == "has a SPLIT into 0 with 1 outputs"
    assert said["MAX_POOL_2D filter 0"] == "has a MAX_POOL_2D with a stride, dilation or side of 0"


@pytest.mark.parametrize("name", RELATIVES)
def test_relatives_of_advisories(name: str) -> None:
    try:
        runner, _ = _opened(RELATIVES[name])
    except InputError as error:
        assert "\n" not in str(error)
        return
    if isinstance(runner, WatchedRunner):
        runner.close()


def test_a_model_that_is_isolated_answers_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(crafted.harmless(scale=1 / 16))  # larger numbers look like coordinates
    frame = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    here, apart = load_model(path, isolate="never"), load_model(path, isolate="always")
    assert here.isolated is None and apart.isolated == "so it was chosen"
    assert here(frame) == apart(frame)
    assert apart.with_contract(apart.contract).isolated == apart.isolated


def test_a_file_without_an_end_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("edgeguard.model.interpreter.LARGEST_FILE", 1 << 20)
    with pytest.raises(InputError, match="/dev/zero is a device"):
        load_model("/dev/zero")
    with open(tmp_path / "holes.tflite", "wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(InputError, match="holes.tflite is larger than 1 MiB"):
        load_model(tmp_path / "holes.tflite")
