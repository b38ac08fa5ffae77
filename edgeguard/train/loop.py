"""The training loop: resumable to the step, stopped by a loss that is not a number, logged epoch by epoch."""

import copy
import hashlib
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeguard.differentiable.guard_layer import to_frames, to_levels
from edgeguard.errors import CheckFailed, DeviceError
from edgeguard.patchguard.double_masking import MaskSet
from edgeguard.statistics import wilson
from edgeguard.system.foreign import foreign_json, of_type, parsing, read_bounded
from edgeguard.train.adversarial import adversarial_losses
from edgeguard.train.batches import Batches
from edgeguard.train.checkpoint import NAME, Checkpoint, load_checkpoint, resume_log, save_checkpoint
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.codec_network import CodecNetwork, logits, runs_half
from edgeguard.train.coefficient_net import CoefficientNet
from edgeguard.train.config import (
    AdversarialConfig,
    AugmentConfig,
    CodecConfig,
    PatchConfig,
    ScheduleConfig,
    SmoothingConfig,
)
from edgeguard.train.data import Dataset, Part
from edgeguard.train.layers import in_layout
from edgeguard.train.robust import Teacher, perturbed_weights, robust_loss
from edgeguard.train.smoothing import noisy_levels, smoothing_loss
from edgeguard.train.tensors import fitting

LOG = "log.jsonl"
_SAVE_EVERY_S = 60.0
_TEST_BATCH = 500
_LARGEST_LOG = 16 << 20  # bytes
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Epoch:
    """A line of the log. Test figures are those of the averaged weights, images through the training's codec (with a
    fixed seed where it is drawn), and with the training's noise where a base for smoothing is trained."""

    epoch: int
    step: int
    loss: float
    train_accuracy: float
    test_accuracy: float
    test_low: float
    test_high: float
    test_n: int
    learning_rate: float
    seconds: float


class Trainer:
    """One training.

    Args:
        network: what is trained, in place.
        dataset: its images.
        folder: of the checkpoint and the log; what is in it is gone on with.
        size: side of the pictures, pixels.
        schedule, augment, codec, adversarial, smoothing: the configuration's tables.
        config_sha256: names the whole configuration.
        teacher: gives soft labels to adversarial training.
        frozen_statistics: keep batch normalisation as it is (fine-tuned programs know no other mode).
        patch: of a network of regions, which is trained for its proven margin; None for others.
        masks: those of random pairs and those of greedy ones, of which `augment.masks` chooses; None for neither.

    Raises:
        InputError: the folder holds a checkpoint of another configuration or of other images.
    """

    def __init__(
        self,
        network: nn.Module,
        dataset: Dataset,
        folder: Path,
        *,
        size: int,
        schedule: ScheduleConfig,
        augment: AugmentConfig,
        codec: CodecConfig,
        adversarial: AdversarialConfig,
        smoothing: SmoothingConfig,
        config_sha256: str,
        teacher: Teacher | None = None,
        frozen_statistics: bool = False,
        patch: PatchConfig | None = None,
        masks: tuple[MaskSet, MaskSet] | None = None,
    ) -> None:
        self._patch = patch
        self._greedy = masks[1] if masks is not None and augment.masks == "greedy" else None
        self._device = device_of(schedule.device)
        self.network = in_layout(network.to(self._device), torch.channels_last)
        self.average = copy.deepcopy(self.network)
        self.dataset, self.folder = dataset, folder
        self._size, self._schedule, self._adversarial, self._sha256 = size, schedule, adversarial, config_sha256
        self._frozen, self._mixup, self._smoothing = frozen_statistics, augment.mixup, smoothing
        self._teacher = None if teacher is None else teacher.to(self._device)
        self._half = runs_half(schedule.precision, self._device)
        # A network that reads coefficients is its own codec: its input is quantised.
        name = "none" if isinstance(network, CoefficientNet) else codec.codec
        self._codec = TrainingCodec(name, codec.codec_share)
        self._batches = Batches(
            dataset.train,
            size=size,
            batch=schedule.batch,
            seed=schedule.seed,
            augment=augment,
            masks=masks[0] if masks is not None and augment.masks == "double" else None,
            codec=self._codec if adversarial.method == "none" and smoothing.smoothing == "none" else None,
        )
        self._optimizer = torch.optim.SGD(_groups(self.network, schedule.weight_decay), momentum=0.9, nesterov=True)
        self._data_sha256 = _digest(dataset.train)
        self.step, self._loss_sum, self._hits, self._seen, self._spent_s = 0, 0.0, 0, 0, 0.0
        self._resume()

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return self._schedule.epochs * self._batches.per_epoch

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
            for batch in self._batches.steps(self.step, self.steps):
                self._one_step(batch.levels.to(self._device), batch.targets.to(self._device))
                self.step += 1
                self._spent_s = time.monotonic() - began
                progress("training", self.step, self.steps)
                ends = self.step % self._batches.per_epoch == 0
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
            self._sha256,
            self._data_sha256,
            self.step,
            log.stat().st_size if log.is_file() else 0,
            self._loss_sum,
            self._hits,
            self._seen,
            self._spent_s,
            self.network.state_dict(),
            self.average.state_dict(),
            self._optimizer.state_dict(),
        )
        save_checkpoint(self.folder, state)

    def _resume(self) -> None:
        found = load_checkpoint(self.folder, self._sha256, self._data_sha256, self.steps)
        resume_log(self.folder / LOG, None if found is None else found.log_bytes)
        if found is None:
            return
        with fitting(self.folder / NAME):
            self.network.load_state_dict(found.weights)
            self.average.load_state_dict(found.average)
            self._optimizer.load_state_dict(found.optimizer)
        self.step, self._spent_s = found.step, found.seconds
        self._loss_sum, self._hits, self._seen = found.loss_sum, found.hits, found.seen

    def _one_step(self, levels: Tensor, targets: Tensor) -> None:
        schedule, attack = self._schedule, self._adversarial
        rate = learning_rate(self.step, self.steps, schedule)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        if not self._frozen:
            self.network.train()
        if self._smoothing.smoothing != "none":
            self._smoothed_step(levels, targets)
        elif attack.method == "none":
            self._plain_step(levels, targets)
        else:
            rng = np.random.default_rng([schedule.seed, 3, self.step])
            generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
            victim = CodecNetwork(self.network, self._codec, attack.backward, rng, self._half)
            smoothing = schedule.label_smoothing
            if attack.weight_eps or self._teacher is not None:
                self._robust_step(victim, levels, targets, generator)
                _move_towards(self.average, self.network, min(schedule.ema, (1 + self.step) / (10 + self.step)))
                return
            for loss, out in adversarial_losses(victim, levels, targets, attack, generator, label_smoothing=smoothing):
                self._descend(loss, out, targets)
        _move_towards(self.average, self.network, min(schedule.ema, (1 + self.step) / (10 + self.step)))

    def _robust_step(self, victim: CodecNetwork, levels: Tensor, targets: Tensor, generator: torch.Generator) -> None:
        attack, smoothing = self._adversarial, self._schedule.label_smoothing
        loss = robust_loss(victim, levels, targets, attack, generator, self._teacher, label_smoothing=smoothing)
        if not attack.weight_eps:
            self._descend(*loss(), targets)
            return
        with perturbed_weights(self.network, loss, attack.weight_eps):
            value, out = loss()
            self._backward(value)
        self._step(value, out, targets)

    def _smoothed_step(self, levels: Tensor, targets: Tensor) -> None:
        rng = np.random.default_rng([self._schedule.seed, 6, self.step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        victim = CodecNetwork(self.network, self._codec, "straight-through", rng, self._half)
        done = self.step / self.steps
        loss, out = smoothing_loss(
            victim, levels, targets, self._smoothing, generator, done=done,
            label_smoothing=self._schedule.label_smoothing,
        )  # fmt: skip
        self._descend(loss, out, targets)

    def _plain_step(self, levels: Tensor, targets: Tensor) -> None:
        smoothing = self._schedule.label_smoothing
        if self._greedy is not None:
            from edgeguard.train.certified.masks import greedily_masked

            levels = greedily_masked(self.network, levels, targets, self._greedy)
        if self._patch is not None:
            from edgeguard.train.certified.step import margin_step  # not on a board

            loss, out = margin_step(self.network, levels, targets, self._patch)
            self._descend(loss, out, targets)
            return
        if not self._mixup:
            out = logits(self.network, levels, self._half)
            self._descend(F.cross_entropy(out, targets, label_smoothing=smoothing), out, targets)
            return
        rng = np.random.default_rng([self._schedule.seed, 5, self.step])
        share = float(rng.beta(self._mixup, self._mixup))
        other = torch.from_numpy(rng.permutation(len(targets))).to(targets.device)
        out = logits(self.network, share * levels + (1 - share) * levels[other], self._half)
        first, second = (F.cross_entropy(out, t, label_smoothing=smoothing) for t in (targets, targets[other]))
        self._descend(share * first + (1 - share) * second, out, targets)

    def _descend(self, loss: Tensor, out: Tensor, targets: Tensor) -> None:
        self._backward(loss)
        self._step(loss, out, targets)

    def _backward(self, loss: Tensor) -> None:
        value = float(loss.detach())
        if not math.isfinite(value):
            raise CheckFailed(
                f"the loss is {value} at step {self.step + 1}: training stopped; the last good state is in "
                f"{self.folder}. Try a smaller --learning-rate"
            )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()

    def _step(self, loss: Tensor, out: Tensor, targets: Tensor) -> None:
        self._optimizer.step()
        self._loss_sum += float(loss.detach()) * len(targets)
        self._hits += int((out.detach().argmax(1) == targets).sum())
        self._seen += len(targets)

    def _end_epoch(self) -> None:
        hits, n = accuracy(
            self.average,
            self.dataset.test,
            self._codec,
            size=self._size,
            seed=self._schedule.seed,
            half=self._half,
            sigma=0.0 if self._smoothing.smoothing == "none" else self._smoothing.sigma,
        )
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
            round(learning_rate(self.step - 1, self.steps, self._schedule), 6),
            round(self._spent_s, 1),
        )
        try:
            with open(self.folder / LOG, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(line)) + "\n")
        except OSError as error:
            raise DeviceError(f"cannot write {self.folder / LOG}: {error.strerror}") from error
        self._loss_sum, self._hits, self._seen = 0.0, 0, 0


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Ctrl-C waits for the step to end, since half a step cannot be gone on with; a second one does not wait."""
    asked = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield asked.is_set
        return

    def note(number: int, frame: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def read_log(folder: Path) -> list[Epoch]:
    """The epochs that are done.

    Raises:
        InputError: a line is none of ours.
    """
    log = folder / LOG
    if not log.is_file():
        return []
    lines = read_bounded(log, _LARGEST_LOG, "the log").splitlines()
    with parsing(str(log)):
        return [of_type(Epoch, foreign_json(line)) for line in lines]


def learning_rate(step: int, steps: int, config: ScheduleConfig) -> float:
    """A straight rise over `warmup` of the steps, then half a cosine to zero."""
    rise = config.warmup * steps
    if step < rise:
        return config.learning_rate * (step + 1) / (rise + 1)
    return config.learning_rate * (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1))) / 2


def accuracy(
    network: nn.Module,
    part: Part,
    codec: TrainingCodec,
    *,
    size: int,
    seed: int,
    half: bool = False,
    sigma: float = 0.0,
) -> tuple[int, int]:
    """Right answers on the images of a part behind a codec (drawn with a fixed seed), and how many there are.

    With `sigma` (pixels 0..1) each image gets one noise, of a fixed seed, before the codec.
    """
    rng, generator = np.random.default_rng([seed, 4]), torch.Generator().manual_seed(seed)
    network.eval()
    device = next(network.parameters()).device
    hits = 0
    with torch.inference_mode():
        for start in range(0, len(part), _TEST_BATCH):
            rows = np.arange(start, min(start + _TEST_BATCH, len(part)))
            pixels = part.pixels(rows, size)
            if sigma:
                pixels = to_frames(noisy_levels(to_levels(pixels), sigma, generator))
            levels = to_levels(codec(pixels, rng)).to(device)
            hits += int((logits(network, levels, half).argmax(1).cpu().numpy() == part.targets[rows]).sum())
    return hits, len(part)


def device_of(name: str) -> torch.device:
    """The device that `ScheduleConfig.device` names.

    Raises:
        DeviceError: torch has no GPU here.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device = cuda, but torch finds no GPU here: leave it out, or install torch for CUDA")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weights decay; biases and normalisation do not."""
    trained = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay, "lr": 0.1},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0, "lr": 0.1},
    ]


@torch.no_grad()
def _move_towards(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Weights and statistics of the average move by 1 - decay; counters are copied."""
    ours, theirs = average.state_dict(), network.state_dict()
    floating = [name for name, value in ours.items() if value.is_floating_point()]
    torch._foreach_lerp_([ours[n] for n in floating], [theirs[n] for n in floating], 1 - decay)
    for name, value in ours.items():
        if not value.is_floating_point():
            value.copy_(theirs[name])


def _digest(part: Part) -> str:
    total = hashlib.sha256(part.targets.tobytes())
    if isinstance(part.images, np.ndarray):
        total.update(part.images.tobytes())
    else:
        for data in part.images:
            total.update(hashlib.sha256(data).digest())
    return total.hexdigest()
