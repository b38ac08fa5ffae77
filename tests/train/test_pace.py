import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from edgeguard.errors import InputError

torch = pytest.importorskip("torch")

from edgeguard.train import pace, run  # noqa: E402
from edgeguard.train.config import DataConfig, TrainConfig  # noqa: E402
from edgeguard.train.data import read_dataset  # noqa: E402
from edgeguard.train.log import Epoch  # noqa: E402
from edgeguard.train.loop import Trainer  # noqa: E402
from edgeguard.train.pace import config_within, epochs_within, few_steps, guessing_line, within_line  # noqa: E402


def test_what_fits() -> None:
    assert epochs_within(10, 0.5, 100, 25) == 10  # 55 s an epoch
    assert epochs_within(0.01, 10.0, 1000, 0) == 1
    assert epochs_within(1e5, 1e-6, 1, 0) == 10_000


def test_few_steps_are_said_with_a_way_on() -> None:
    few = few_steps(TrainConfig(data="d", epochs=7), 5227)
    assert few is not None and few.startswith("140 steps, one a batch of 256") and "--batch 64" in few and "567" in few
    assert few_steps(TrainConfig(data="d", epochs=30), 5227) is None
    assert few_steps(TrainConfig(data="d", epochs=7, batch=64), 5227) is None
    assert few_steps(TrainConfig(data="d", epochs=7, network="mine.pt2"), 5227) is None
    short = few_steps(TrainConfig(data="d", epochs=1, batch=64), 3000, minutes=2)
    assert short is not None and short.startswith("46 steps, one a batch of 64") and "--minutes 22 makes" in short
    assert few_steps(TrainConfig(data="d", epochs=11, batch=64), 3000, minutes=22) is None


def test_what_has_not_learned_is_told_so() -> None:
    last = Epoch(1, 11, 2.3, 0.1, 0.1, 0.07, 0.14, 300, 0.0, 1.0)
    line = guessing_line(last, 10, 256)
    assert line is not None and "NOT SHOWN TO BE BETTER THAN GUESSING among 10 classes" in line and "--batch 64" in line
    assert guessing_line(replace(last, test_accuracy=0.3), 10, 256) is None
    assert guessing_line(last, 43, 256) is None and "--batch" not in (guessing_line(last, 10, 64) or "--batch")


def _config(data: Path, **settings: Any) -> TrainConfig:
    base: dict[str, Any] = {
        "data": str(data), "network": "resnet9", "width": 4, "batch": 24, "learning_rate": 0.02,
        "precision": "float32",
    }  # fmt: skip
    return TrainConfig(**{**base, **settings})


def test_the_folder_keeps_the_number_that_was_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stripes: Path
) -> None:
    seen, told = list[int](), list[TrainConfig]()

    def measured(trainer: Trainer) -> float:
        seen.append(trainer.steps)
        return 30.0 / (trainer.steps // 10_000 + 0.4 * len(trainer.dataset.test) / 24)  # half a minute an epoch

    def single(config: TrainConfig, folder: Path, *more: object) -> run.Trained:
        told.append(config)
        (folder / "config.json").write_text(json.dumps(asdict(config)))
        return run.Trained(folder / "model.pt2", 1, (Epoch(1, 1, 0.1, 0.9, 0.9, 0.8, 1.0, 30, 0.1, 1.0),), "stripes")

    monkeypatch.setattr(pace, "measured_step_s", measured)
    monkeypatch.setattr(run, "_single", single)
    config = _config(stripes)
    run.train(config, tmp_path / "out", minutes=1)
    assert told == [replace(config, epochs=2)] and len(seen) == 1
    run.train(config, tmp_path / "out", minutes=5)
    assert told[1] == told[0] and len(seen) == 1, "it is measured once"
    run.train(replace(config, seed=3), tmp_path / "out", minutes=5)
    assert told[2].epochs == 10 and len(seen) == 2


def _seconds_a_step(monkeypatch: pytest.MonkeyPatch, seconds_an_image: float) -> list[int]:
    """Steps take a time by their images; gives the batches that were tried."""
    tried = list[int]()

    def measured(trainer: Trainer) -> float:
        tried.append(trainer._schedule.batch)
        return seconds_an_image * trainer._schedule.batch

    monkeypatch.setattr(pace, "measured_step_s", measured)
    return tried


@pytest.mark.parametrize(
    ("minutes", "batch", "tried"),
    [(1.0, 64, [64]), (500.0, 256, [64, 256])],
)
def test_a_short_time_takes_a_small_batch(
    minutes: float, batch: int, tried: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stripes: Path
) -> None:
    seen = _seconds_a_step(monkeypatch, 0.1)
    config = _config(stripes, batch=256, learning_rate=0.2)
    dataset = read_dataset(config.part(DataConfig), size=config.size, seed=config.seed)

    def trainer_in(one: TrainConfig, place: Path) -> Trainer:
        return run._new_trainer(one, dataset, place)

    found = config_within(config, minutes, tmp_path, trainer_in, choose_batch=True)
    assert (found.batch, found.learning_rate, seen) == (batch, {64: 0.1, 256: 0.2}[batch], tried)
    line = within_line(minutes, config, found, len(dataset.train))
    assert ("--batch 64 --learning-rate 0.1, taken because" in line) == (batch == 64)
    assert config_within(config, minutes, tmp_path, trainer_in).batch == 256, "a batch that was said is kept"
    (tmp_path / "config.json").write_text(json.dumps(asdict(found)))
    assert config_within(config, minutes, tmp_path, lambda *more: pytest.fail("measured"), choose_batch=True) == found


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), 1e9])
def test_no_time(minutes: float, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--minutes is a time above 0"):
        config_within(_config(tmp_path), minutes, tmp_path, lambda one, place: pytest.fail("not measured"))


def test_an_ensemble_has_no_time(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--minutes is for one network"):
        config_within(
            _config(tmp_path, ensemble=("jpeg:30", "jpeg:50")), 5, tmp_path, lambda one, place: pytest.fail("no")
        )


@pytest.mark.full
def test_a_training_of_some_seconds(tmp_path: Path, stripes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_SECONDS", 1.0)
    trained = run.train(_config(stripes), tmp_path / "out", minutes=0.1)
    assert len(trained.epochs) >= 1 and trained.epochs[-1].seconds < 30
