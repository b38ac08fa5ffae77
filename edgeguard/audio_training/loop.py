"""The training loop of sound: resumable to the step, stopped by a loss that is not a number, logged by epoch."""

import json
import math
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeguard.audio.path import SoundPath
from edgeguard.audio_training.batches import SoundBatches, heard
from edgeguard.audio_training.config import SoundConfig
from edgeguard.audio_training.data import SoundData
from edgeguard.errors import CheckFailed, DeviceError
from edgeguard.statistics import wilson
from edgeguard.train.checkpoint import NAME, Checkpoint, load_checkpoint, resume_log, save_checkpoint
from edgeguard.train.loop import LOG, Epoch, Progress, interrupts, read_log
from edgeguard.train.tensors import fitting

_SAVE_EVERY_S = 60.0
_WARMUP = 0.1  # of the steps
_TEST_BATCH = 100


class SoundTrainer:
    """One training.

    Args:
        network: what is trained, in place.
        data: its clips.
        path: what the network hears of them.
        folder: of the checkpoint and the log; what is in it is gone on with.
        config: everything else.

    Raises:
        InputError: the folder holds a checkpoint of another configuration or of other clips.
    """

    def __init__(self, network: nn.Module, data: SoundData, path: SoundPath, folder: Path, config: SoundConfig) -> None:
        self.network, self.folder, self._config, self._data = network, folder, config, data
        self._batches = SoundBatches(data.train, path, config)
        self._test, self._targets = heard(data.test, path), data.test.targets
        self._optimizer = torch.optim.Adam(network.parameters(), config.learning_rate)
        self._data_sha256 = data.train.sha256
        self.step, self._loss_sum, self._hits, self._seen, self._spent_s = 0, 0.0, 0, 0, 0.0
        self._resume()

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return self._config.epochs * self._batches.per_epoch

    def run(self, progress: Progress = lambda what, done, total: None) -> list[Epoch]:
        """Train to the end (or for what is left of it).

        Returns:
            The log, epochs of earlier runs included.

        Raises:
            CheckFailed: the loss is not a number any more; the last checkpoint is kept.
            DeviceError: the disk is full; the last checkpoint is kept.
            KeyboardInterrupt: Ctrl-C; a checkpoint of the last whole step is written first.
        """
        began, saved = time.monotonic() - self._spent_s, time.monotonic()
        with interrupts() as interrupted:
            for x, targets in self._batches.steps(self.step, self.steps):
                self._one_step(x, targets)
                self.step += 1
                self._spent_s = time.monotonic() - began
                progress("training", self.step, self.steps)
                ends = self.step % self._batches.per_epoch == 0
                if ends:
                    self._end_epoch()
                if self.step == self.steps or interrupted() or time.monotonic() - saved > _SAVE_EVERY_S:
                    self.save()
                    saved = time.monotonic()
                if interrupted():
                    raise KeyboardInterrupt
        return read_log(self.folder)

    def answers(self) -> NDArray[np.int64]:
        """The class that the network says of each test clip."""
        return answers_of(self.network, self._test)

    def save(self) -> None:
        """Write a checkpoint of the last whole step."""
        log = self.folder / LOG
        state = Checkpoint(
            self._config.sha256,
            self._data_sha256,
            self.step,
            log.stat().st_size if log.is_file() else 0,
            self._loss_sum,
            self._hits,
            self._seen,
            self._spent_s,
            self.network.state_dict(),
            {},
            self._optimizer.state_dict(),
        )
        save_checkpoint(self.folder, state)

    def _resume(self) -> None:
        found = load_checkpoint(self.folder, self._config.sha256, self._data_sha256, self.steps)
        resume_log(self.folder / LOG, None if found is None else found.log_bytes)
        if found is None:
            return
        with fitting(self.folder / NAME):
            self.network.load_state_dict(found.weights)
            self._optimizer.load_state_dict(found.optimizer)
        self.step, self._spent_s = found.step, found.seconds
        self._loss_sum, self._hits, self._seen = found.loss_sum, found.hits, found.seen

    def _one_step(self, x: Tensor, targets: Tensor) -> None:
        rate = rate_at(self.step, self.steps, self._config.learning_rate)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        torch.manual_seed(self._config.seed * 1_000_003 + self.step)  # what dropout draws, after a resumption too
        out = self.network(x)
        loss = F.cross_entropy(out, targets)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise CheckFailed(
                f"the loss is {value} at step {self.step + 1}: training stopped; the last good state is in "
                f"{self.folder}. Try a smaller learning_rate"
            )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self._loss_sum += value * len(targets)
        self._hits += int((out.detach().argmax(1) == targets).sum())
        self._seen += len(targets)

    def _end_epoch(self) -> None:
        hits, n = int((self.answers() == self._targets).sum()), len(self._targets)
        low, high = wilson(hits, n)
        line = Epoch(
            self.step // self._batches.per_epoch,
            self.step,
            round(self._loss_sum / self._seen, 5),
            round(self._hits / self._seen, 5),
            round(hits / n, 5),
            round(low, 5),
            round(high, 5),
            n,
            round(rate_at(self.step - 1, self.steps, self._config.learning_rate), 6),
            round(self._spent_s, 1),
        )
        try:
            with open(self.folder / LOG, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(line)) + "\n")
        except OSError as error:
            raise DeviceError(f"cannot write {self.folder / LOG}: {error.strerror}") from error
        self._loss_sum, self._hits, self._seen = 0.0, 0, 0


def rate_at(step: int, steps: int, highest: float) -> float:
    """A straight rise, then half a cosine to zero."""
    rise = _WARMUP * steps
    if step < rise:
        return highest * (step + 1) / (rise + 1)
    return highest * (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1))) / 2


def answers_of(network: nn.Module, x: Tensor) -> NDArray[np.int64]:
    """The class that a network says of each of (n, planes, rows, columns), in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        parts = [network(x[i : i + _TEST_BATCH]).argmax(1) for i in range(0, len(x), _TEST_BATCH)]
    return torch.cat(parts).numpy()
