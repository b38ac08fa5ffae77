"""A training that goes on where it was interrupted; a loss that is not a number stops it; a log line an epoch."""

import math
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from edgeguard.errors import CheckFailed
from edgeguard.statistics import wilson
from edgeguard.train.checkpoint import NAME, Checkpoint, load_checkpoint, resume_log, save_checkpoint
from edgeguard.train.log import LOG, Epoch, append_epoch, read_log
from edgeguard.train.tensors import fitting

_SAVE_EVERY_S = 60.0
Progress = Callable[[str, int, int], None]


class ResumableTraining(ABC):
    """What every training does between its steps; a subclass says what a step is.

    Args:
        network: what is trained, in place.
        average: a moving average of its weights that belongs to the state; None where there is none.
        optimizer: of the network.
        folder: of the checkpoint and the log; what is in it is gone on with by `resume`.
        epochs, per_epoch: how long it takes; steps an epoch.
        config_sha256, data_sha256: what a checkpoint has to belong to.
    """

    def __init__(
        self,
        network: nn.Module,
        average: nn.Module | None,
        optimizer: torch.optim.Optimizer,
        folder: Path,
        *,
        epochs: int,
        per_epoch: int,
        config_sha256: str,
        data_sha256: str,
    ) -> None:
        self.network, self.folder = network, folder
        self._optimizer, self._averaged = optimizer, average
        self._epochs, self._per_epoch = epochs, per_epoch
        self._config_sha256, self._data_sha256 = config_sha256, data_sha256
        self.step, self._loss_sum, self._hits, self._seen, self._spent_s = 0, 0.0, 0, 0, 0.0

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return self._epochs * self._per_epoch

    @abstractmethod
    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of each step that is left, the same ones however often the training was interrupted."""

    @abstractmethod
    def train_on(self, inputs: Tensor, targets: Tensor) -> None:
        """One step: see `descend`."""

    @abstractmethod
    def tested(self) -> tuple[int, int]:
        """Right answers on the test part, and how many there are."""

    @abstractmethod
    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""

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
        with _interrupts() as interrupted:
            for inputs, targets in self.batches():
                for group in self._optimizer.param_groups:
                    group["lr"] = self.rate_at(self.step)
                self.train_on(inputs, targets)
                self.step += 1
                self._spent_s = time.monotonic() - began
                progress("training", self.step, self.steps)
                ends = self.step % self._per_epoch == 0
                if ends:
                    self._end_epoch()
                if ends or interrupted() or time.monotonic() - saved > _SAVE_EVERY_S:
                    self.save()
                    saved = time.monotonic()
                if interrupted():
                    raise KeyboardInterrupt
        return read_log(self.folder)

    def save(self) -> None:
        """Write a checkpoint of the last whole step."""
        log = self.folder / LOG
        state = Checkpoint(
            self._config_sha256,
            self._data_sha256,
            self.step,
            log.stat().st_size if log.is_file() else 0,
            self._loss_sum,
            self._hits,
            self._seen,
            self._spent_s,
            self.network.state_dict(),
            {} if self._averaged is None else self._averaged.state_dict(),
            self._optimizer.state_dict(),
        )
        save_checkpoint(self.folder, state)

    def resume(self) -> None:
        """Take up what the folder holds.

        Raises:
            InputError: it holds a checkpoint of another configuration or of other data.
        """
        found = load_checkpoint(self.folder, self._config_sha256, self._data_sha256, self.steps)
        resume_log(self.folder / LOG, None if found is None else found.log_bytes)
        if found is None:
            return
        with fitting(self.folder / NAME):
            self.network.load_state_dict(found.weights)
            if self._averaged is not None:
                self._averaged.load_state_dict(found.average)
            self._optimizer.load_state_dict(found.optimizer)
        self.step, self._spent_s = found.step, found.seconds
        self._loss_sum, self._hits, self._seen = found.loss_sum, found.hits, found.seen

    def descend(self, loss: Tensor, out: Tensor, targets: Tensor) -> None:
        """A gradient step on a scalar loss; `out` (n, classes) is counted against the targets."""
        self.backward(loss)
        self.take_step(loss, out, targets)

    def backward(self, loss: Tensor) -> None:
        """Gradients of a scalar loss in place of the last ones.

        Raises:
            CheckFailed: it is not a number.
        """
        value = float(loss.detach())
        if not math.isfinite(value):
            raise CheckFailed(
                f"the loss is {value} at step {self.step + 1}: training stopped; the last good state is in "
                f"{self.folder}. Try a smaller --learning-rate"
            )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()

    def take_step(self, loss: Tensor, out: Tensor, targets: Tensor) -> None:
        """Move the weights by the gradients there are, and count the batch."""
        self._optimizer.step()
        self._loss_sum += float(loss.detach()) * len(targets)
        self._hits += int((out.detach().argmax(1) == targets).sum())
        self._seen += len(targets)

    def _end_epoch(self) -> None:
        hits, n = self.tested()
        low, high = wilson(hits, n)
        line = Epoch(
            self.step // self._per_epoch,
            self.step,
            round(self._loss_sum / self._seen, 5),
            round(self._hits / self._seen, 5),
            round(hits / n, 5),
            round(low, 5),
            round(high, 5),
            n,
            round(self.rate_at(self.step - 1), 6),
            round(self._spent_s, 1),
        )
        append_epoch(self.folder, line)
        self._loss_sum, self._hits, self._seen = 0.0, 0, 0


def rise_and_fall(step: int, steps: int, highest: float, warmup: float) -> float:
    """A learning rate: a straight rise over `warmup` (a share) of the steps, then half a cosine to zero."""
    rise = warmup * steps
    if step < rise:
        return highest * (step + 1) / (rise + 1)
    return highest * (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1))) / 2


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Ctrl-C waits for the step to end, since half a step cannot be gone on with; a second one does not wait."""
    came = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield came.is_set
        return

    def note(number: int, frame: object) -> None:
        came.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGINT, before)
