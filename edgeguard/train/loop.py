"""The training loop of images: every method of training, the average of the weights, the test behind the codec."""

import copy
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeguard.differentiable.guard_layer import to_frames, to_levels
from edgeguard.errors import DeviceError
from edgeguard.patchguard.double_masking import MaskSet
from edgeguard.train.adversarial import adversarial_losses
from edgeguard.train.batches import Batches
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
from edgeguard.train.resumable import ResumableTraining, rise_and_fall
from edgeguard.train.robust import Teacher, perturbed_weights, robust_loss
from edgeguard.train.smoothing import noisy_levels, smoothing_loss

_TEST_BATCH = 500


class Trainer(ResumableTraining):
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
        network_ = in_layout(network.to(self._device), torch.channels_last)
        self.average = copy.deepcopy(network_)
        self.dataset = dataset
        self._size, self._schedule, self._adversarial = size, schedule, adversarial
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
        super().__init__(
            network_,
            self.average,
            torch.optim.SGD(_groups(network_, schedule.weight_decay), momentum=0.9, nesterov=True),
            folder,
            epochs=schedule.epochs,
            per_epoch=self._batches.per_epoch,
            config_sha256=config_sha256,
            data_sha256=_digest(dataset.train),
        )
        self.resume()

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """See `ResumableTraining`."""
        for batch in self._batches.steps(self.step, self.steps):
            yield batch.levels.to(self._device), batch.targets.to(self._device)

    def rate_at(self, step: int) -> float:
        """See `ResumableTraining`."""
        return rise_and_fall(step, self.steps, self._schedule.learning_rate, self._schedule.warmup)

    def tested(self) -> tuple[int, int]:
        """See `ResumableTraining`; of the averaged weights, behind the codec."""
        return accuracy(
            self.average,
            self.dataset.test,
            self._codec,
            size=self._size,
            seed=self._schedule.seed,
            half=self._half,
            sigma=0.0 if self._smoothing.smoothing == "none" else self._smoothing.sigma,
        )

    def train_on(self, levels: Tensor, targets: Tensor) -> None:
        """See `ResumableTraining`: the training's method, then the average follows the weights."""
        schedule, attack = self._schedule, self._adversarial
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
                self.descend(loss, out, targets)
        _move_towards(self.average, self.network, min(schedule.ema, (1 + self.step) / (10 + self.step)))

    def _robust_step(self, victim: CodecNetwork, levels: Tensor, targets: Tensor, generator: torch.Generator) -> None:
        attack, smoothing = self._adversarial, self._schedule.label_smoothing
        loss = robust_loss(victim, levels, targets, attack, generator, self._teacher, label_smoothing=smoothing)
        if not attack.weight_eps:
            self.descend(*loss(), targets)
            return
        with perturbed_weights(self.network, loss, attack.weight_eps):
            value, out = loss()
            self.backward(value)
        self.take_step(value, out, targets)

    def _smoothed_step(self, levels: Tensor, targets: Tensor) -> None:
        rng = np.random.default_rng([self._schedule.seed, 6, self.step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        victim = CodecNetwork(self.network, self._codec, "straight-through", rng, self._half)
        done = self.step / self.steps
        loss, out = smoothing_loss(
            victim, levels, targets, self._smoothing, generator, done=done,
            label_smoothing=self._schedule.label_smoothing,
        )  # fmt: skip
        self.descend(loss, out, targets)

    def _plain_step(self, levels: Tensor, targets: Tensor) -> None:
        smoothing = self._schedule.label_smoothing
        if self._greedy is not None:
            from edgeguard.train.certified.masks import greedily_masked

            levels = greedily_masked(self.network, levels, targets, self._greedy)
        if self._patch is not None:
            from edgeguard.train.certified.step import margin_step  # not on a board

            loss, out = margin_step(self.network, levels, targets, self._patch)
            self.descend(loss, out, targets)
            return
        if not self._mixup:
            out = logits(self.network, levels, self._half)
            self.descend(F.cross_entropy(out, targets, label_smoothing=smoothing), out, targets)
            return
        rng = np.random.default_rng([self._schedule.seed, 5, self.step])
        share = float(rng.beta(self._mixup, self._mixup))
        other = torch.from_numpy(rng.permutation(len(targets))).to(targets.device)
        out = logits(self.network, share * levels + (1 - share) * levels[other], self._half)
        first, second = (F.cross_entropy(out, t, label_smoothing=smoothing) for t in (targets, targets[other]))
        self.descend(share * first + (1 - share) * second, out, targets)


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
