"""What an attack on certified radii works on: images of a class that move, and a network that trains on them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.poison.implicit import by_images, inverse_times
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.codec_network import CodecNetwork
from edgeguard.train.config import GradientMode, SmoothingConfig
from edgeguard.train.smoothing import noisy_levels, smoothing_loss

_SOFTNESS, _CLIP = 16.0, 1e-3  # the paper's beta and alpha
_NET_RATE, _IMAGE_RATE = 1e-3, 25.5  # of Adam; the second in levels, .1 of a pixel's range
_DAMPING = 1e-3
_WARM_UP = 40  # steps of a fresh network before the images are moved
_JUDGED = 100  # clean images of the class in a round
_BETAS, _TINY, _SMALLEST = (0.9, 0.999), 1e-8, 1e-30


@dataclass(frozen=True)
class ClassAttack:
    """How the images are looked for.

    Attributes:
        eps_8bit: bound of each pixel, levels.
        epochs: walks through the images of the class.
        inner_steps: of the network, and of the linear system, in each round.
        batch: images of all classes in a step of the network; images of the class that move in a round.
        copies: noisy copies of an image from which its radius is estimated.
        seed: of everything random.
    """

    eps_8bit: float = 25.5
    epochs: int = 20
    inner_steps: int = 8
    batch: int = 500
    copies: int = 20
    seed: int = 0


class Moved:
    """Images on their way, each with Adam's memory of its own: a batch moves only its rows."""

    def __init__(self, clean: Tensor, eps_8bit: float) -> None:
        self._clean, self._eps_8bit = clean, eps_8bit
        self._delta, self._mean, self._square = (torch.zeros_like(clean) for _ in range(3))
        self._times = torch.zeros(len(clean), 1, 1, 1)

    def levels(self, rows: NDArray[np.int64]) -> Tensor:
        """As they are now."""
        return self._clean[rows] + self._delta[rows]

    def step(self, rows: NDArray[np.int64], slope: Tensor) -> None:
        """One of Adam's steps down the slope, back into the budget and into 0..255."""
        self._times[rows] += 1
        times = self._times[rows]
        first, second = _BETAS
        self._mean[rows] = first * self._mean[rows] + (1 - first) * slope
        self._square[rows] = second * self._square[rows] + (1 - second) * slope.square()
        mean, square = self._mean[rows] / (1 - first**times), self._square[rows] / (1 - second**times)
        scale = (square.sqrt() + _TINY * slope.abs().amax()).clamp(min=_SMALLEST)
        delta = self._delta[rows] - _IMAGE_RATE * mean / scale
        delta = delta.clamp(-self._eps_8bit, self._eps_8bit)
        clean = self._clean[rows]
        self._delta[rows] = (clean + delta).clamp(0, 255) - clean

    def whole(self) -> NDArray[np.uint8]:
        """In whole levels, towards the clean image: never beyond the budget."""
        levels = (self._clean + self._delta.trunc()).clamp(0, 255)
        return levels.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


@dataclass(frozen=True)
class ClassData:
    """The training images, of which some rows move."""

    images: NDArray[np.uint8]
    targets: Tensor
    rows: NDArray[np.int64]
    moved: Moved

    def batch(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Levels and targets of images drawn at random, as they are now."""
        drawn = rng.permutation(len(self.targets))[:count]
        levels = to_levels(self.images[drawn])
        _, here, among = np.intersect1d(drawn, self.rows, assume_unique=True, return_indices=True)
        levels[here] = self.moved.levels(among)
        return levels, self.targets[drawn]

    def judged(self, rng: np.random.Generator) -> Tensor:
        """Clean images of the class."""
        return to_levels(self.images[self.rows[rng.permutation(len(self.rows))[:_JUDGED]]])


class Victim:
    """A network that trains while the images move, and what its radii say of them."""

    _solution: list[Tensor] | None = None
    _is_new = True

    def __init__(
        self,
        network: nn.Module,
        *,
        codec: str,
        gradient: GradientMode,
        smoothing: SmoothingConfig,
        attack: ClassAttack,
        rng: np.random.Generator,
    ) -> None:
        self._network, self._smoothing, self._attack, self._rng = network, smoothing, attack, rng
        self._forward = CodecNetwork(network, TrainingCodec(codec), gradient, rng)
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        self._optimizer = torch.optim.Adam(self._parameters, lr=_NET_RATE)

    def slope(self, data: ClassData, own: NDArray[np.int64]) -> Tensor | None:
        """The derivative of the class's radius by some of its images; None where no judged image is right yet, and
        where it is not finite."""
        self.train(data, _WARM_UP if self._is_new else self._attack.inner_steps, self._attack.batch)
        self._is_new = False
        self._network.eval()
        label = int(data.targets[data.rows[0]])
        copies = self._attack.copies
        radius = soft_radius(self._seen(data.judged(self._rng), copies), label, self._smoothing.sigma, copies)
        if radius is None:
            return None
        wanted = torch.autograd.grad(radius, self._parameters, allow_unused=True)
        self._network.train()
        solution = inverse_times(
            self._slopes(*data.batch(self._attack.batch, self._rng)), self._parameters,
            [torch.zeros_like(p) if w is None else w for p, w in zip(self._parameters, wanted, strict=True)],
            self._solution, steps=self._attack.inner_steps, damping=_DAMPING,
        )  # fmt: skip
        images = data.moved.levels(own).requires_grad_(True)
        slope = by_images(self._slopes(images, torch.full((len(own),), label)), images, solution)
        is_finite = all(bool(one.isfinite().all()) for one in (slope, *solution))
        self._solution = solution if is_finite else None
        return slope if is_finite else None

    def train(self, data: ClassData, steps: int, batch: int) -> None:
        """Train the network on batches that are drawn from the images as they are now."""
        self._network.train()
        for _ in range(steps):
            loss = self._loss(*data.batch(batch, self._rng))
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()

    def radius(self, images: NDArray[np.uint8], label: int, copies: int) -> float:
        """The mean radius of images (n, h, w, 3) of a class, estimated from noisy copies; 0 for those that are wrong.

        At most so many images as judge a round are drawn.
        """
        self._network.eval()
        drawn = to_levels(images[self._rng.permutation(len(images))[:_JUDGED]])
        with torch.no_grad():
            right = self._seen(drawn, copies).argmax(1).reshape(-1, copies) == label
        shares = right.float().mean(1).clamp(0.5, 1 - 1 / (2 * copies))
        return float(self._smoothing.sigma * torch.distributions.Normal(0.0, 1.0).icdf(shares).mean())

    def _loss(self, levels: Tensor, labels: Tensor) -> Tensor:
        return smoothing_loss(self._forward, levels, labels, self._smoothing, self._drawn())[0]

    def _slopes(self, levels: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(self._loss(levels, labels), self._parameters, create_graph=True)

    def _seen(self, judged: Tensor, copies: int) -> Tensor:
        """Logits (copies * n, classes) of noisy copies."""
        repeated = judged.repeat_interleave(copies, 0)
        return torch.as_tensor(self._forward(noisy_levels(repeated, self._smoothing.sigma, self._drawn())))

    def _drawn(self) -> torch.Generator:
        return torch.Generator().manual_seed(int(self._rng.integers(1 << 62)))


def soft_radius(logits: Tensor, label: int, sigma: float, copies: int) -> Tensor | None:
    """The mean certified radius of images that are right, with a derivative (equation 6); None where none is right.

    Args:
        logits: (n * copies, classes) of noisy copies, those of one image together.
        label: the right class of all.
        sigma: of the noise, pixels 0..1; the radius has this unit.
        copies: of each image.

    Example:
        >>> soft_radius(torch.tensor([[9.0, 0.0], [9.0, 0.0]]), 0, 0.5, 2).item() > 1
        True
    """
    soft = (_SOFTNESS * logits).softmax(1).reshape(-1, copies, logits.shape[1]).mean(1)
    top, which = soft.topk(2, 1)
    top = top[which[:, 0] == label]
    if not len(top):
        return None
    normal = torch.distributions.Normal(0.0, 1.0)
    first, second = normal.icdf((1 - 2 * _CLIP) * top + _CLIP).unbind(1)
    return torch.as_tensor(sigma / 2 * (first - second).mean())
