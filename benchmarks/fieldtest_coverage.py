"""Does the interval of the mean paired difference cover, and does the test keep its level? Simulated outcome tables.

    python benchmarks/fieldtest_coverage.py [--tables 5000] [--passes 160] [--frames 5] [--correlation 0.5]

Each pass has its own success rate (Beta, mean as stated, intra-pass correlation as stated) under each of two
conditions, and so many stored frames; two conditions share `--shared` of the passes' luck, as two guards on the same
frames do. Asked: 93..97 % coverage at true rates .1, .5 and .9, and at most 6 % false positives.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from edgeguard.fieldtest.analysis.paired import half_width, permutation_p

PAIRS = ((0.1, 0.1), (0.5, 0.5), (0.9, 0.9), (0.5, 0.1), (0.9, 0.5), (0.9, 0.1))


def shares(
    rng: np.random.Generator, rates: tuple[float, float], passes: int, frames: int, correlation: float, shared: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of hits of each pass under two conditions."""
    luck = rng.random(passes)
    found = []
    for rate in rates:
        own = np.where(rng.random(passes) < shared, luck, rng.random(passes))
        always = own < rate
        kept = rng.random(passes) < correlation  # all frames of such a pass go one way, which gives this correlation
        hits = np.where(kept, always * frames, rng.binomial(frames, rate, passes))
        found.append(hits / frames)
    return found[0], found[1]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=5000)
    parser.add_argument("--passes", type=int, nargs="+", default=[160, 40, 10])
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--correlation", type=float, default=0.5)
    parser.add_argument("--shared", type=float, default=0.5)
    options = parser.parse_args()
    print("| passes | true rates | coverage of the 95 % interval | false positives |\n|---|---|---|---|")
    for passes in options.passes:
        for rates in PAIRS:
            rng = np.random.default_rng([passes, round(100 * rates[0]), round(100 * rates[1])])
            covered = positives = 0
            for table in range(options.tables):
                a, b = shares(rng, rates, passes, options.frames, options.correlation, options.shared)
                differences = a - b
                covered += abs(differences.mean() - (rates[0] - rates[1])) <= half_width(differences)
                if rates[0] == rates[1]:
                    positives += permutation_p(differences, table) <= 0.05
            wrong = f"{100 * positives / options.tables:.1f} %" if rates[0] == rates[1] else "-"
            print(
                f"| {passes} | {rates[0]}, {rates[1]} | {100 * covered / options.tables:.1f} % | {wrong} |", flush=True
            )


if __name__ == "__main__":
    main()
