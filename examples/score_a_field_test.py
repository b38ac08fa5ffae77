"""Score a field test in a notebook or a script: every stored frame through two guards, then counts with intervals.

    python examples/score_a_field_test.py SESSION MODEL.tflite

The session is a folder that `edgeguard fieldtest record` filled. Frames of one pass are alike, so what compares two
conditions counts passes; the interval of a single row only describes.
"""

import sys
from pathlib import Path

from edgeguard.fieldtest.analysis.findings import findings
from edgeguard.fieldtest.analysis.score import score
from edgeguard.fieldtest.session.session import Session

if __name__ == "__main__":
    folder, model = map(Path, sys.argv[1:3])
    scores = score(folder, model, guards=["off", "contract"], workers=1)
    found = findings(Session(folder), scores)

    print("arm      guard      any wrong label")
    for arm in found.arms:
        low, high = arm.untargeted.interval
        count = f"{arm.untargeted.hits} of {arm.untargeted.n}"
        print(f"{arm.sheet.arm:<8} {arm.guard:<10} {count} frames [{low:.0%}, {high:.0%}]")
    for cost in found.costs:
        print(f"the clean card behind guard {cost.guard}: right on {cost.clean.share:.0%} of {cost.clean.n} frames")
    for comparison in found.comparisons:
        change = comparison.difference
        print(f"{comparison.question} {change.mean:+.0%} [{change.low:+.0%}, {change.high:+.0%}], {change.n} passes")
