"""The wheel for x86-64 in clean environments, and what an installation that cannot work says.

Run by `make release-check-x86-64`. With CI set a Python that is missing is a failure; without, it is named.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from release import older_runtime
from release.checks import Reference, check, jpeg_library, make_reference, say
from release.environments import VERSIONS, Environment, bare_venv, find_python, install
from release.refusals import say_refusals
from release.steps import DIST, ReleaseError, run_script, single


def main() -> None:
    """All environments: while one is being checked the next is installed."""
    wheel = single(DIST, "edgeguard-*_x86_64.whl")
    missing = [version for version in VERSIONS if find_python(version) is None]
    if missing:
        _lack(f"no Python {', '.join(missing)} on PATH or in pyenv: not checked")
    reference = make_reference()
    with ThreadPoolExecutor(max_workers=1) as checker:
        checks = []
        for version in VERSIONS:
            if version in missing:
                continue
            environment = bare_venv(version, f"x86-64-{version}")
            install(environment.python, [wheel])
            checks.append(checker.submit(say, environment, _all(environment, reference)))
            if version == older_runtime.VERSION:
                older = _with_older_runtime(wheel)
                checks.append(checker.submit(say, older, older_runtime.check_older_runtime(older, reference)))
                checks.append(checker.submit(say_refusals, environment))
        for done in checks:
            done.result()


def _all(environment: Environment, reference: Reference) -> Iterator[str]:
    yield from check(environment, reference)
    if not jpeg_library(environment).startswith("the system's libjpeg-turbo"):
        _lack("libjpeg62-turbo is not installed: only Pillow's copy was checked")


def _with_older_runtime(wheel: Path) -> Environment:
    environment = bare_venv(older_runtime.VERSION, "x86-64-tflite-runtime", "x86-64, tflite-runtime")
    install(environment.python, older_runtime.requirements(wheel), constrained=False)
    install(environment.python, ["--no-deps", wheel])
    return environment


def _lack(what: str) -> None:
    if os.environ.get("CI"):
        raise ReleaseError(what)
    print(what)


if __name__ == "__main__":
    sys.exit(run_script("release-check, x86-64", main))
