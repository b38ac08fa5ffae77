"""PACD (Mehra et al., CVPR 2021): training images of one class that take its certified radii away.

Written from the paper, sections 3 and 4. Upper level: the smoothed radius of clean images of the class, estimated
softly, shall fall. Lower level: the victim's own training for certificates (`train.smoothing`). The gradient of the
upper loss by the images goes through the lower level's optimum (implicit differentiation): a linear system in the
loss's second derivatives is solved by a few steps for each batch (ApproxGrad).
"""

from collections.abc import Callable, Iterator, Sequence
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
_NET_RATE, _SOLVER_RATE, _IMAGE_RATE = 1e-3, 1e-2, 25.5  # of Adam; the last in levels, .1 of a pixel's range
_DAMPING = 1e-3
_FRESH_EVERY = 10  # epochs: a network that has seen the images for long is no victim any more
_WARM_UP = 40  # steps of a fresh network before the images are moved
_JUDGED = 100  # clean images of the class in a step
_BETAS, _TINY, _SMALLEST = (0.9, 0.999), 1e-8, 1e-30


@dataclass(frozen=True)
class ClassAttack:
    """How the images are looked for.

    Attributes:
        eps_8bit: bound of each pixel, levels.
        epochs: walks through the training images.
        inner_steps: of the network, and of the linear system, for each batch.
        batch: images; the class has its share of them.
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

    Args:
        fresh: a network with new weights.
        images, targets: of the training, (n, h, w, 3) and (n,).
        rows: of one class; these are moved, and their clean copies judge.
        attack: see the class.
        smoothing: how the victim trains; its sigma.
        codec: that images go through on their way to the network: an attacker who knows the defense.
        gradient: the codec's derivative that the attacker uses.
        progress: called with what, batches done, batches in all.

    Returns:
        (len(rows), h, w, 3).
    """
    rng = np.random.default_rng([attack.seed, 16])
    clean, label = to_levels(images[rows]), int(targets[rows[0]])
    others = np.setdiff1d(np.arange(len(targets)), rows)
    moved = _Moved(clean, attack.eps_8bit)
    batches = max(min(len(targets) // attack.batch, len(rows)), 1)  # each has an image of the class
    victim: _Victim | None = None
    for epoch in range(attack.epochs):
        if victim is None or epoch % _FRESH_EVERY == 0:
            victim = _Victim(fresh(), codec, gradient, smoothing, attack, rng)
        mine, theirs = _parts(len(rows), batches, rng), _parts(len(others), batches, rng)
        for number, (own, beside) in enumerate(zip(mine, (some[: attack.batch] for some in theirs), strict=True), 1):
            background, known = to_levels(images[others[beside]]), torch.from_numpy(targets[others[beside]])
            judged = clean[rng.permutation(len(clean))[:_JUDGED]]
            slope = victim.slope(moved.levels(own), background, known, judged, label)
            if slope is not None and bool(slope.any()):
                moved.step(own, slope)
            progress("poisoning", epoch * batches + number, attack.epochs * batches)
    return moved.whole()


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

    def slope(self, own: Tensor, background: Tensor, known: Tensor, judged: Tensor, label: int) -> Tensor | None:
        """The derivative of the class's radius by its images in a batch; None where no judged image is right yet, and
        where it is not finite."""
        labels = torch.cat([torch.full((len(own),), label), known])
        self._train(torch.cat([own, background]), labels, _WARM_UP if self._is_new else self._attack.inner_steps)
        self._is_new = False
        self._network.eval()
        radius = soft_radius(self._seen(judged), label, self._smoothing.sigma, self._attack.copies)
        if radius is None:
            return None
        wanted = list(torch.autograd.grad(radius, self._parameters, allow_unused=True))
        self._network.train()
        own = own.clone().requires_grad_(True)
        loss = self._loss(torch.cat([own, background]), labels, self._drawn())
        slope, solution = implicit_gradient(
            loss, self._parameters, own, [torch.zeros_like(p) if w is None else w for p, w in self._with(wanted)],
            self._solution, steps=self._attack.inner_steps, rate=_SOLVER_RATE, damping=_DAMPING,
        )  # fmt: skip
        is_finite = all(bool(one.isfinite().all()) for one in (slope, *solution))
        self._solution = solution if is_finite else None
        return slope if is_finite else None

    def _train(self, levels: Tensor, labels: Tensor, steps: int) -> None:
        self._network.train()
        for _ in range(steps):
            loss = self._loss(levels, labels, self._drawn())
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()

    def _loss(self, levels: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        return smoothing_loss(self._forward, levels, labels, self._smoothing, generator)[0]

    def _seen(self, judged: Tensor) -> Tensor:
        """Logits (copies * n, classes) of noisy copies."""
        repeated = judged.repeat_interleave(self._attack.copies, 0)
        return torch.as_tensor(self._forward(noisy_levels(repeated, self._smoothing.sigma, self._drawn())))

    def _with(self, wanted: Sequence[Tensor | None]) -> Iterator[tuple[Tensor, Tensor | None]]:
        return zip(self._parameters, wanted, strict=True)

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


def implicit_gradient(
    loss: Tensor,
    parameters: Sequence[Tensor],
    images: Tensor,
    wanted: Sequence[Tensor],
    start: Sequence[Tensor] | None = None,
    *,
    steps: int,
    rate: float,
    damping: float,
) -> tuple[Tensor, list[Tensor]]:
    """The derivative of an upper loss by images that it depends on through the parameters at the lower loss's optimum.

    It is -d/dimages (grad(loss) . q) with q = (H + damping)^-1 wanted, where H holds the lower loss's second
    derivatives; q comes from Adam's steps down |(H + damping) q - wanted|^2.

    Args:
        loss: the lower loss, with its graph.
        parameters: that it was minimized over.
        images: that it depends on.
        wanted: the upper loss's derivative by the parameters.
        start: q of the batch before, for a warm start.
        steps, rate: of Adam.
        damping: added to H.

    Returns:
        The derivative, in the images' shape, and q.
    """
    slopes = torch.autograd.grad(loss, parameters, create_graph=True)
    solution = [torch.zeros_like(w) if start is None else start[i].clone() for i, w in enumerate(wanted)]
    optimizer = torch.optim.Adam(solution, lr=rate)

    def times(vector: Sequence[Tensor]) -> list[Tensor]:
        product = hessian_vector(slopes, parameters, vector)
        return [p + damping * v for p, v in zip(product, vector, strict=True)]

    for _ in range(steps):
        left = [a - b for a, b in zip(times(solution), wanted, strict=True)]
        for one, downhill in zip(solution, times(left), strict=True):
            one.grad = downhill
        optimizer.step()
    product = torch.stack([(a * b).sum() for a, b in zip(slopes, solution, strict=True)]).sum()
    (found,) = torch.autograd.grad(product, [images])
    return -found, solution


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


def _parts(count: int, batches: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    return [np.sort(part) for part in np.array_split(rng.permutation(count), batches)]
