"""PACD (Mehra et al., CVPR 2021): training images of one class that take its certified radii away.

Written from the paper, sections 3 and 4. Upper level: the smoothed radius of clean images of the class, estimated
softly, shall fall. Lower level: the victim's own training for certificates (`train.smoothing`). The gradient of the
upper loss by the images goes through the lower level's optimum (implicit differentiation): a linear system in the
loss's second derivatives is solved by a few steps in each round (ApproxGrad).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.codec_network import CodecNetwork
from edgeguard.train.config import GradientMode, SmoothingConfig
from edgeguard.train.smoothing import noisy_levels, smoothing_loss

Progress = Callable[[str, int, int], None]
_SOFTNESS, _CLIP = 16.0, 1e-3  # the paper's beta and alpha
_NET_RATE, _IMAGE_RATE = 1e-3, 25.5  # of Adam; the second in levels, .1 of a pixel's range
_DAMPING = 1e-3
_FRESH_EVERY = 10  # epochs: a network that has seen the images for long is no victim any more
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


def against_certificates(
    fresh: Callable[[], nn.Module],
    images: NDArray[np.uint8],
    targets: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    attack: ClassAttack,
    smoothing: SmoothingConfig,
    codec: str = "none",
    gradient: GradientMode = "straight-through",
    progress: Progress = lambda what, done, total: None,
) -> NDArray[np.uint8]:
    """The images of some rows, moved by at most the budget, whole levels.

    A round trains the network, solves one linear system on a batch of all classes, and moves up to a batch of the
    class with the solution: what the loss's derivative says of an image does not depend on the others beside it.

    Args:
        fresh: a network with new weights, without normalization by the batch.
        images, targets: of the training, (n, h, w, 3) and (n,).
        rows: of one class; these are moved, and their clean copies judge.
        attack: see the class.
        smoothing: how the victim trains; its sigma.
        codec: that images go through on their way to the network: an attacker who knows the defense.
        gradient: the codec's derivative that the attacker uses.
        progress: called with what, rounds done, rounds in all.

    Returns:
        (len(rows), h, w, 3).
    """
    rng = np.random.default_rng([attack.seed, 16])
    moved = _Moved(to_levels(images[rows]), attack.eps_8bit)
    data = _Data(images, torch.from_numpy(targets), rows, moved)
    rounds = -(-len(rows) // attack.batch)
    victim: _Victim | None = None
    for epoch in range(attack.epochs):
        if victim is None or epoch % _FRESH_EVERY == 0:
            victim = _Victim(fresh(), codec, gradient, smoothing, attack, rng)
        for number, own in enumerate(np.array_split(rng.permutation(len(rows)), rounds), 1):
            slope = victim.slope(data, own)
            if slope is not None and bool(slope.any()):
                moved.step(own, slope)
            progress("poisoning", epoch * rounds + number, attack.epochs * rounds)
    return moved.whole()


@dataclass(frozen=True)
class _Data:
    """The training images, of which some rows move."""

    images: NDArray[np.uint8]
    targets: Tensor
    rows: NDArray[np.int64]
    moved: "_Moved"

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


class _Victim:
    """A network that trains while the images move, and what its radii say of them."""

    _solution: list[Tensor] | None = None
    _is_new = True

    def __init__(
        self,
        network: nn.Module,
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

    def slope(self, data: _Data, own: NDArray[np.int64]) -> Tensor | None:
        """The derivative of the class's radius by some of its images; None where no judged image is right yet, and
        where it is not finite."""
        self._train(data, _WARM_UP if self._is_new else self._attack.inner_steps)
        self._is_new = False
        self._network.eval()
        label = int(data.targets[data.rows[0]])
        radius = soft_radius(self._seen(data.judged(self._rng)), label, self._smoothing.sigma, self._attack.copies)
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

    def _train(self, data: _Data, steps: int) -> None:
        self._network.train()
        for _ in range(steps):
            loss = self._loss(*data.batch(self._attack.batch, self._rng))
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()

    def _loss(self, levels: Tensor, labels: Tensor) -> Tensor:
        return smoothing_loss(self._forward, levels, labels, self._smoothing, self._drawn())[0]

    def _slopes(self, levels: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(self._loss(levels, labels), self._parameters, create_graph=True)

    def _seen(self, judged: Tensor) -> Tensor:
        """Logits (copies * n, classes) of noisy copies."""
        repeated = judged.repeat_interleave(self._attack.copies, 0)
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


def inverse_times(
    slopes: Sequence[Tensor],
    parameters: Sequence[Tensor],
    wanted: Sequence[Tensor],
    start: Sequence[Tensor] | None = None,
    *,
    steps: int,
    damping: float,
) -> list[Tensor]:
    """q with (H + damping) q = wanted, where H holds a loss's second derivatives, by steps of conjugate gradients.

    H need not be positive away from the loss's minimum: the steps end where a direction curves down, and q is what was
    found before it (or `wanted` itself, where nothing was).

    Args:
        slopes: the loss's derivatives by the parameters, with their graph, which is kept.
        parameters: of the loss.
        wanted: the right side.
        start: a first guess.
        steps: at most.
        damping: added to H.

    Example:
        >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> slopes = torch.autograd.grad((x**2).sum(), [x], create_graph=True)
        >>> inverse_times(slopes, [x], [torch.tensor([2.0, 4.0])], steps=2, damping=0.0)
        [tensor([1., 2.])]
    """
    solution = [torch.zeros_like(w) for w in wanted] if start is None else [one.clone() for one in start]

    def times(vector: Sequence[Tensor]) -> list[Tensor]:
        product = hessian_vector(slopes, parameters, vector)
        return [p + damping * v for p, v in zip(product, vector, strict=True)]

    left = list(wanted)
    if start is not None:
        left = [w - p for w, p in zip(wanted, times(solution), strict=True)]
    direction, size = left, _dot(left, left)
    for step in range(steps):
        if size <= _SMALLEST:
            break
        turned = times(direction)
        curve = _dot(direction, turned)
        if curve <= 0:
            return solution if start is not None or step else list(wanted)
        far = size / curve
        solution = [s + far * d for s, d in zip(solution, direction, strict=True)]
        left = [a - far * t for a, t in zip(left, turned, strict=True)]
        size, before = _dot(left, left), size
        direction = [a + size / before * d for a, d in zip(left, direction, strict=True)]
    return solution


def _dot(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    return sum(float((a * b).sum()) for a, b in zip(one, other, strict=True))


def by_images(slopes: Sequence[Tensor], images: Tensor, solution: Sequence[Tensor]) -> Tensor:
    """The derivative of an upper loss by images that it depends on through the parameters at the lower loss's optimum:
    -d/dimages (slopes . q).

    Args:
        slopes: the lower loss's derivatives by the parameters, with their graph, which ends here.
        images: that the lower loss depends on.
        solution: q, the inverse of the lower loss's second derivatives times the upper loss's derivative by the
            parameters.
    """
    product = torch.stack([(a * b).sum() for a, b in zip(slopes, solution, strict=True)]).sum()
    (found,) = torch.autograd.grad(product, [images])
    return -found


def hessian_vector(slopes: Sequence[Tensor], parameters: Sequence[Tensor], vector: Sequence[Tensor]) -> list[Tensor]:
    """A loss's second derivatives times a vector.

    Args:
        slopes: the loss's derivatives by the parameters, with their graph, which is kept.
        parameters, vector: of the same shapes.
    """
    product = torch.autograd.grad(slopes, parameters, vector, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(v) if p is None else p for p, v in zip(product, vector, strict=True)]


class _Moved:
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
