"""Does `fieldtest plan` state the right chance? The stated one beside the frequency over simulated sessions.

    python benchmarks/fieldtest_power.py [--sessions 2000] [--spread 0.3]

The sessions here are drawn in another way than in `analysis/power.py` (passes of which all frames go one way, mixed
with passes of independent frames), and judged in full by `paired_difference`. Wanted: within 5 points. With `--spread`
passes are also harder or easier for the patch by up to so much, which the plan does not assume.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from edgeguard.fieldtest.analysis.paired import paired_difference
from edgeguard.fieldtest.analysis.power import Outlook, chance_to_see

CASES = ((0.3, 20), (0.3, 40), (0.2, 20), (0.2, 40), (0.1, 80), (0.5, 12), (0.15, 64))


def shares(rng: np.random.Generator, rates: NDArray[np.float64], outlook: Outlook) -> NDArray[np.float64]:
    """Of each pass: with the probability `agreement` all frames go one way, else each goes its own."""
    one_way = rng.random(len(rates)) < outlook.agreement
    together = (rng.random(len(rates)) < rates) * 1.0
    return np.where(one_way, together, rng.binomial(outlook.frames, rates) / outlook.frames)


def frequency(outlook: Outlook, passes: int, sessions: int, spread: float) -> float:
    """How often the report would show the effect; `spread` makes cells harder or easier for the patch."""
    shown = 0
    for session in range(sessions):
        rng = np.random.default_rng([session, passes, 7])
        hard = np.clip(outlook.patch + rng.uniform(-spread, spread, passes), 0, 1)
        found = paired_difference(
            shares(rng, hard, outlook), shares(rng, np.full(passes, outlook.control), outlook), session
        )
        shown += found is not None and found.shown
    return shown / sessions


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--spread", type=float, default=0.0)
    options = parser.parse_args()
    print("| effect | passes | stated | frequency |\n|---|---|---|---|")
    worst = 0.0
    for effect, passes in CASES:
        outlook = Outlook(effect)
        stated = chance_to_see(outlook, passes)
        seen = frequency(outlook, passes, options.sessions, options.spread)
        worst = max(worst, abs(stated - seen))
        print(f"| {100 * effect:.0f} | {passes} | {100 * stated:.1f} % | {100 * seen:.1f} % |", flush=True)
    print(f"\nlargest difference {100 * worst:.1f} points")


if __name__ == "__main__":
    main()
