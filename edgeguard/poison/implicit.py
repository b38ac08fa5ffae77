"""The derivative of a loss through the optimum of another: implicit differentiation with second derivatives."""

from collections.abc import Sequence

import torch
from torch import Tensor

_SMALLEST = 1e-30


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
