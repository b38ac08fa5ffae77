import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeguard.errors import CheckFailed, DeviceError, InputError

torch = pytest.importorskip("torch")

from edgeguard.train import resumable  # noqa: E402
from edgeguard.train.checkpoint import NAME, Checkpoint, save_checkpoint  # noqa: E402
from edgeguard.train.config import TrainConfig  # noqa: E402
from edgeguard.train.data import read_dataset  # noqa: E402
from edgeguard.train.log import LOG, read_log  # noqa: E402
from edgeguard.train.loop import Trainer  # noqa: E402
from edgeguard.train.networks import network  # noqa: E402
from edgeguard.train.resumable import rise_and_fall  # noqa: E402
from edgeguard.train.run import trainer_of  # noqa: E402


def _config(data: Path, **settings: Any) -> TrainConfig:
    base: dict[str, Any] = {
        "data": str(data), "network": "resnet9", "width": 8, "batch": 24, "epochs": 3, "learning_rate": 0.02,
        "precision": "float32", "shift": 2, "ema": 0.8, "warmup": 0.1,
    }  # fmt: skip
    return TrainConfig(**{**base, **settings})


def _trainer(config: TrainConfig, folder: Path) -> Trainer:
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    dataset = read_dataset(config, size=config.size, seed=config.seed)
    return trainer_of(config, network(config.network, 3, config.width, config.size), dataset, folder)


def _curve(folder: Path) -> list[tuple[object, ...]]:
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [tuple(value for name, value in line.items() if name != "seconds") for line in lines]


@pytest.mark.parametrize(
    "settings",
    [
        {"codec": "jpeg:20..90"},
        pytest.param({"codec": "fd", "method": "fgsm-rs"}, marks=pytest.mark.full),
        pytest.param({"method": "free", "steps": 2}, marks=pytest.mark.full),
    ],
)
def test_an_interrupted_training_goes_on_as_if_nothing_had_been(
    stripes: Path, tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(stripes, **settings)
    whole = _trainer(config, tmp_path / "whole")
    whole.run()
    for stop_at in (2, 5):  # in mid-epoch, twice
        part = _trainer(config, tmp_path / "parts")

        def descend(
            *values: Any, part: Trainer = part, real: Callable[..., None] = part.descend, at: int = stop_at
        ) -> None:
            if part.step == at - 1:
                monkeypatch.setattr(part, "descend", real)
                signal.raise_signal(signal.SIGINT)  # in mid-step: it is finished first
            real(*values)

        monkeypatch.setattr(part, "descend", descend)
        with pytest.raises(KeyboardInterrupt):
            part.run()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    last = _trainer(config, tmp_path / "parts")
    assert last.step == 5
    last.run()
    assert _curve(tmp_path / "parts") == _curve(tmp_path / "whole") and len(_curve(tmp_path / "whole")) == 3
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, last.average.state_dict()[name]), name


def test_lines_behind_the_checkpoint_are_cut(stripes: Path, tmp_path: Path) -> None:
    config = _config(stripes, epochs=1)
    _trainer(config, tmp_path / "a").run()
    log = tmp_path / "a" / LOG
    good = log.read_bytes()
    log.write_bytes(good + b'{"half a li')
    _trainer(config, tmp_path / "a")
    assert log.read_bytes() == good


def test_it_learns(stripes: Path, tmp_path: Path) -> None:
    config = _config(stripes, epochs=12, learning_rate=0.05)
    epochs = _trainer(config, tmp_path / "a").run()
    assert epochs[-1].test_accuracy >= 0.9 and epochs[-1].test_n == 72
    assert epochs[-1].test_low < epochs[-1].test_accuracy <= epochs[-1].test_high


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(stripes)
    trainer = _trainer(config, tmp_path / "a")

    def poison(what: str, done: int, total: int) -> None:
        if done == 4:
            with torch.no_grad():
                trainer.network.get_parameter("classify.weight")[0, 0] = float("nan")

    with pytest.raises(CheckFailed, match="the loss is nan at step 5"):
        trainer.run(poison)
    again = _trainer(config, tmp_path / "a")
    assert again.step == 3  # the end of the first epoch
    assert all(torch.isfinite(v).all() for v in again.network.state_dict().values())


def test_checkpoints_of_something_else_are_refused(stripes: Path, tmp_path: Path) -> None:
    _trainer(_config(stripes, epochs=1), tmp_path / "a").run()
    with pytest.raises(InputError, match="another configuration"):
        _trainer(_config(stripes, epochs=2), tmp_path / "a")
    with pytest.raises(InputError, match="other images"):
        _trainer(_config(stripes / "train", epochs=1), tmp_path / "a")
    (tmp_path / "a" / NAME).write_bytes(b"half")
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        _trainer(_config(stripes, epochs=1), tmp_path / "a")


def test_a_full_disk_keeps_the_last_checkpoint(stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _config(stripes, epochs=2)
    trainer = _trainer(config, tmp_path / "a")
    saves: list[Checkpoint] = []

    def full(folder: Path, state: Checkpoint) -> None:
        if saves:
            raise DeviceError("cannot write: No space left on device")
        saves.append(state)
        real(folder, state)

    real = save_checkpoint
    monkeypatch.setattr(resumable, "save_checkpoint", full)
    with pytest.raises(DeviceError, match="No space left"):
        trainer.run()
    monkeypatch.undo()
    assert _trainer(config, tmp_path / "a").step == 3
    assert len(read_log(tmp_path / "a")) == 1  # the line behind the checkpoint is cut


def test_schedule() -> None:
    rates = [rise_and_fall(step, 100, 1.0, 0.2) for step in range(100)]
    assert rates[0] < 0.06 and max(rates) == rates[20] == 1.0 and rates[-1] < 0.001
    assert rates[:21] == sorted(rates[:21]) and rates[20:] == sorted(rates[20:], reverse=True)
