"""What +-eps levels in transit can do to blocks: a proven bound, what the lattice attack does, the certificate tried.

    python benchmarks/reachability.py PHOTOS [--guard fd] [--eps 1 2 3] [--trials 100000] [--seed 0]

Blocks are those of pass 1's output for the photographs in PHOTOS (without it, for rendered scenes). Each block is one
channel's. For every budget:

    certified    share of blocks whose output no change can alter
    trials       changes of certified blocks that were tried: the attack's own candidates for random gradients, and the
                 worst sign pattern of each coefficient in both directions; violations are those that changed the output
    attack       root mean square change of a block's output that the attack reaches, levels, mean over blocks
    bound        the same, more than which nothing reaches: interval and Bessel, see below
    share moved  blocks in which the attack moves an index, and in which the bound does not exclude it

Bound: index k moves by n steps only when its coefficient moves by n QS_k - QS_k / 2 - s r_k, within A_k eps, and the
squares of the moves of all coefficients add up to at most those of the levels (Bessel). The largest sum of squares of
n QS_k under both is a knapsack, bounded from above by its fractional solution.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.datasets.images import list_images
from edgeguard.dct.integer_dct import coefficient_error_bound
from edgeguard.dct.profile import GuardProfile, resolve_profile
from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.differentiable.lattice_step import LatticeBudget
from edgeguard.guard import certificate
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.preprocess.crop_resize import sanitize
from edgeguard.scene.views import render, stand_in_views

_CHUNK = 2000  # blocks handled at once
_DRAWS = 4  # random gradients of each block


def main() -> None:
    """Print a table for each budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="?", type=Path)
    parser.add_argument("--guard", default="fd")
    parser.add_argument("--eps", nargs="*", type=int, default=[1, 2, 3])
    parser.add_argument("--trials", type=int, default=100_000, help="of certified blocks, for each budget")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    profile = resolve_profile(arguments.guard)
    if profile is None or not profile.is_pixel_domain:
        parser.error("--guard wants an rgb or gray profile: others have no certificate")
    torch.set_num_threads(1)
    print(f"guard {profile.name}, seed {arguments.seed}")
    for eps in arguments.eps:
        told = Reached(eps)
        rng = np.random.default_rng(arguments.seed)
        while told.trials < arguments.trials and told.may_go_on():
            for frame in frames(arguments.photos, rng):
                told.add(sanitize(frame, profile), profile, rng)
                if told.trials >= arguments.trials:
                    break
        print(told.line(), flush=True)


def frames(folder: Path | None, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    """Photographs in a drawn order, or rendered views; small ones, so that many are seen."""
    if folder is None:
        return [render(view, 160, 120) for view in stand_in_views(24)]
    paths = list_images(folder)
    return [decode_rgb(paths[i].read_bytes()) for i in rng.permutation(len(paths))[:40]]


class Reached:
    """Sums over blocks."""

    def __init__(self, eps: int) -> None:
        self.eps, self.blocks, self.certified, self.trials, self.violations = eps, 0, 0, 0, 0
        self.squares = {"attack": 0.0, "bound": 0.0}
        self.moved = {"attack": 0, "bound": 0}

    def add(self, received: NDArray[np.uint8], profile: GuardProfile, rng: np.random.Generator) -> None:
        """All blocks of one frame after pass 1."""
        proof = certificate(received, profile)
        assert proof is not None
        budget = LatticeBudget(profile, to_levels(received[None]), self.eps)
        safe = torch.from_numpy(np.ascontiguousarray(proof.map > self.eps)).permute(2, 0, 1).flatten()
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        for start in range(0, len(safe), _CHUNK):
            chosen = torch.arange(start, min(start + _CHUNK, len(safe)))
            self._add(budget, chosen, safe[chosen], generator)

    def _add(self, budget: LatticeBudget, chosen: Tensor, safe: Tensor, generator: torch.Generator) -> None:
        self.blocks += len(chosen)
        self.certified += int(safe.sum())
        steps = budget.steps[chosen]
        reached = torch.zeros(len(chosen))
        for draw in range(_DRAWS + 1):
            sign = torch.randint(0, 2, steps.shape, generator=generator) * 2.0 - 1
            if draw == 0:  # toward what moves most
                sign = torch.where(budget.cost[0, chosen] < budget.cost[1, chosen], 1.0, -1.0)
            slope = torch.zeros_like(budget.indices)
            weight = 1.0 if draw == 0 else torch.rand(steps.shape, generator=generator)
            slope[chosen] = sign * steps**2 * weight
            best = budget.best(slope, chosen)
            reached = torch.maximum(reached, ((best.moved * steps) ** 2).sum(1))
            self._judge(best.moved, safe)
        for k in range(steps.shape[1]):
            for direction in (1.0, -1.0):
                pattern = direction * budget.lattice.basis[k]
                change = torch.where(pattern > 0, budget.high[chosen], budget.low[chosen])
                if safe.any():
                    self._judge(budget.moved(change[safe], chosen[safe]), safe[safe])
        bound = _bound(budget, chosen)
        for name, squares in (("attack", reached), ("bound", bound)):
            self.squares[name] += float((squares / 64).sqrt().sum())
            self.moved[name] += int((squares > 0).sum())

    def _judge(self, moved: Tensor, safe: Tensor) -> None:
        self.trials += int(safe.sum())
        self.violations += int((moved[safe] != 0).any(1).sum())

    def may_go_on(self) -> bool:
        """False where blocks were seen and none is certified: then there is nothing to try."""
        return self.blocks == 0 or self.certified > 0

    def line(self) -> str:
        """One budget's figures."""
        each = max(self.blocks, 1)
        return (
            f"eps {self.eps}: {self.blocks} blocks, certified {self.certified / each:.4f}; {self.trials} trials of "
            f"certified blocks, {self.violations} violations; moved by the attack {self.moved['attack'] / each:.3f}, "
            f"bound {self.moved['bound'] / each:.3f}; change of a block (rms, levels) by the attack "
            f"{self.squares['attack'] / each:.2f}, bound {self.squares['bound'] / each:.2f}"
        )


def _bound(budget: LatticeBudget, chosen: Tensor) -> Tensor:
    """(m,): no change within the budget changes a block's coefficients by more squares than these."""
    steps, room = budget.steps[chosen], (torch.maximum(budget.high, -budget.low)[chosen] ** 2).sum(1)
    kernel = 2 * torch.from_numpy(coefficient_error_bound()).float().flatten()  # of the block before, and changed
    value, cost = torch.zeros_like(steps), torch.full_like(steps, torch.inf)
    for direction in (0, 1):
        first, reach = budget.cost[direction, chosen] - kernel, budget.reach[direction, chosen]
        count = (((reach - first) / steps).floor() + 1).clamp_min(0)
        value = torch.maximum(value, (count * steps) ** 2)
        cost = torch.where(count > 0, torch.minimum(cost, first.clamp_min(1e-3) ** 2), cost)
    order = (value / cost).argsort(1, descending=True)
    value, cost = value.gather(1, order), cost.gather(1, order)
    used = torch.where(value > 0, cost, 0.0)
    share = ((room[:, None] - (used.cumsum(1) - used)) / cost).clamp(0, 1)
    return (value * share).sum(1)


if __name__ == "__main__":
    main()
