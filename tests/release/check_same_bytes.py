"""The wheel for x86-64, built again from the tree instead of the sdist, has the same bytes."""

import sys

from release.build_wheels import BUILT, build_variables, build_wheel
from release.steps import DIST, ROOT, WORK, ReleaseError, run_script, single


def main() -> None:
    """Build and compare."""
    first = single(DIST, "edgeguard-*_x86_64.whl")
    if not BUILT.is_file():
        raise ReleaseError("dist/ is not whole: make wheels")
    again = build_wheel(ROOT, WORK / "again", "x86_64", build_variables(BUILT.read_text()))
    if again.name != first.name or again.read_bytes() != first.read_bytes():
        raise ReleaseError(f"{first.name} from the tree is not the one in dist/, which was built from the sdist")
    print(f"{first.name}: the same bytes from the tree and from the sdist")


if __name__ == "__main__":
    sys.exit(run_script("release-check, the same bytes", main))
