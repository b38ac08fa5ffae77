"""What certificates of many images say together: the curve of certified accuracy first, the average radius last."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeguard.evaluate.experiments.noise_certification import NoisyImage
from edgeguard.reporting.charts import Point, Series, Svg, chart
from edgeguard.smoothing.bounds import largest_radius
from edgeguard.smoothing.certify import SmoothingPlan
from edgeguard.statistics import wilson

_ROUNDS = 2000  # of the bootstrap


@dataclass(frozen=True)
class NoiseCurve:
    """Certified accuracy over the radius.

    Attributes:
        plan: with the alpha of one image.
        place: where the noise was added.
        n: images.
        radii: L2, pixels 0..1.
        right: images that are right and certified at each of them.
        abstained: images without an answer.
        base: share of all counted draws that said the right class: the model's own accuracy under this noise.
        acr: the average certified radius; a wrong or missing answer counts 0.
        acr_low, acr_high: its 95 % interval over images (bootstrap).
        seconds: median for one image on one core.
    """

    plan: SmoothingPlan
    place: str
    n: int
    radii: tuple[float, ...]
    right: tuple[int, ...]
    abstained: int
    base: float
    acr: float
    acr_low: float
    acr_high: float
    seconds: float

    def lines(self) -> list[str]:
        """For the terminal."""
        plan = self.plan
        what = "every pixel of the frame" if self.place == "frame" else "every level that the model gets"
        told = [
            f"noise       sigma {plan.sigma:g} of 0..1, {255 * plan.sigma:.4g} levels, whole levels on {what}",
            f"draws       {plan.choosing} choose, {plan.draws} count; alpha {plan.alpha:.3g} an image; "
            f"no radius can exceed {largest_radius(plan.draws, plan.alpha, plan.sigma):.3f}",
        ]
        for radius, right in zip(self.radii, self.right, strict=True):
            low, high = wilson(right, self.n)
            told.append(
                f"certified   {100 * right / self.n:5.1f} [{100 * low:.0f}, {100 * high:.0f}] % at L2 {radius:.2f} "
                f"({255 * radius:.0f} levels)"
            )
        told += [
            f"abstained   {self.abstained} of {self.n}; base accuracy under noise {100 * self.base:.1f} %",
            f"cost        {self.seconds:.2f} s an image (median, one core)",
            f"ACR         {self.acr:.3f} [{self.acr_low:.3f}, {self.acr_high:.3f}], n = {self.n}",
        ]
        return told

    def to_dict(self) -> dict[str, object]:
        """As plain data."""
        bands = [wilson(right, self.n) for right in self.right]
        return {
            "schema": 1, "threat": "whole-image changes, L2", "place": self.place, "sigma": self.plan.sigma,
            "sigma_levels": 255 * self.plan.sigma, "draws": self.plan.draws, "choosing": self.plan.choosing,
            "alpha": self.plan.alpha, "n": self.n,
            "certified": [
                {"radius": radius, "radius_levels": 255 * radius, "right": right, "share": right / self.n,
                 "low": low, "high": high}
                for radius, right, (low, high) in zip(self.radii, self.right, bands, strict=True)
            ],
            "abstained": self.abstained, "base_accuracy": self.base, "seconds": self.seconds,
            "acr": self.acr, "acr_low": self.acr_low, "acr_high": self.acr_high,
        }  # fmt: skip

    def chart(self) -> Svg:
        """The curve with its Wilson bands."""
        points = []
        for radius, right in zip(self.radii, self.right, strict=True):
            low, high = wilson(right, self.n)
            points.append(Point(radius, 100 * right / self.n, 100 * low, 100 * high))
        ticks = list(self.radii) if len(self.radii) > 1 else [self.radii[0], self.radii[0] + 1]
        return chart(
            [Series(f"certified, n = {self.n}", tuple(points))], "L2 radius, pixels 0..1", "accuracy, %", ticks
        )


def noise_curve(lines: Sequence[NoisyImage], plan: SmoothingPlan, place: str) -> NoiseCurve:
    """Put lines together.

    Args:
        lines: one or more.
        plan: with the alpha of one image.
        place: where the noise was added.
    """
    found = np.array([line.right_radius for line in lines])
    radii = _radii(plan)
    counted = np.maximum(found, 0.0)
    chosen = np.random.default_rng(0).integers(0, len(found), (_ROUNDS, len(found)))
    low, high = np.percentile(counted[chosen].mean(axis=1), [2.5, 97.5])
    draws = sum(line.draws for line in lines)
    return NoiseCurve(
        plan=plan,
        place=place,
        n=len(lines),
        radii=radii,
        right=tuple(int((found >= radius).sum()) for radius in radii),
        abstained=sum(line.prediction is None for line in lines),
        base=sum(line.votes.get(str(line.label), 0) for line in lines) / max(draws, 1),
        acr=float(counted.mean()),
        acr_low=float(low),
        acr_high=float(high),
        seconds=float(np.median([line.seconds for line in lines])),
    )


def _radii(plan: SmoothingPlan) -> tuple[float, ...]:
    """Quarters, as in the literature's tables, or sigmas where those are smaller, up to what can be proven."""
    step, most = min(plan.sigma, 0.25), largest_radius(plan.draws, plan.alpha, plan.sigma)
    return tuple(round(step * k, 6) for k in range(int(most / step + 1e-9) + 1))
