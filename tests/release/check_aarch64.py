"""The wheel for aarch64 on Debian roots under emulation: `make test-aarch64` (bookworm), `make release-check` (both).

    python -m release.check_aarch64 ENVIRONMENT...        # bookworm, trixie, tflite-runtime

On bookworm our picture of libjpeg's binary interface is compared with the headers and the library of Debian's package,
and with Pillow's library. The older runtime is tried on bookworm too, which has the Python that it needs.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from release import older_runtime
from release.checks import Reference, check, make_reference, say
from release.debian import SUITES, check_programs, debian_root, emulated, emulated_environment
from release.environments import Environment
from release.sizes import check_sizes
from release.steps import DIST, ROOT, WORK, ReleaseError, output, run_script, single

_OLDER = "tflite-runtime"
_CLIP = "demo/assets/clip.avi"


def main() -> None:
    """The environments that were named, one after another."""
    names = sys.argv[1:]
    if not names or set(names) - {*SUITES, _OLDER}:
        raise ReleaseError(f"name one or more of {', '.join([*SUITES, _OLDER])}")
    check_programs()
    wheel = single(DIST, "edgeguard-*_aarch64.whl")
    reference = make_reference()
    sites = {}
    for name in names:
        if name == _OLDER:
            needs = [*older_runtime.requirements(wheel), wheel]
            suite = next(suite for suite, version in SUITES.items() if version == older_runtime.VERSION)
            environment = emulated_environment(suite, needs, name=_OLDER, depend=False)
            say(environment, older_runtime.check_older_runtime(environment, reference))
            continue
        environment = emulated_environment(name, [wheel])
        say(environment, _all(environment, reference))
        if name == "bookworm":
            say(environment, _libjpeg_interface(environment, name))
        sites[environment.name] = environment.site
    for name, site in sites.items():
        print(f"{name}: installed, with bytecode and without pip")
        for line in check_sizes(site):
            print(f"    {line}", flush=True)


def _all(environment: Environment, reference: Reference) -> Iterator[str]:
    yield from check(environment, reference)
    board = environment.edgeguard("firmware", "show", "pi5").stdout.strip().splitlines()[0]
    yield f"firmware show pi5: {board}"
    clip = environment.site / "edgeguard" / _CLIP
    environment.edgeguard("run", "--source", clip, "--isolate", "always", "--json")
    yield "run --isolate always: the bundled clip"


def _libjpeg_interface(environment: Environment, suite: str) -> Iterator[str]:
    """Compile the check against the suite's headers, and run it with both libraries."""
    # A root of its own: the package is tried on one without headers.
    headers = debian_root(suite, packages="libjpeg62-turbo-dev", name="libjpeg") / "usr" / "include"
    program = WORK / "check_libjpeg_abi"
    compiler = shutil.which("aarch64-linux-gnu-g++")
    if compiler is None:
        raise ReleaseError("missing (Debian's packages): g++-aarch64-linux-gnu")
    native = ROOT / "edgeguard" / "dct" / "native"
    # -idirafter: of that folder only what the cross compiler does not have itself, which are libjpeg's headers.
    after: list[str | Path] = ["-idirafter", headers, "-idirafter", headers / "aarch64-linux-gnu"]
    sources = [ROOT / "tests" / "native" / "check_libjpeg_abi.cpp", native / "libjpeg_api.cpp"]
    output([compiler, "-std=c++17", "-Wall", "-Wextra", "-O1", "-I", native, *after, *sources, "-ldl", "-o", program])
    root = debian_root(suite)
    bundled = single(environment.site / "pillow.libs", "libjpeg-*.so.62*")
    for library in (root / "usr/lib/aarch64-linux-gnu/libjpeg.so.62", bundled):
        verdict = output(emulated(root, program, library)).splitlines()[-1]
        yield f"{library.name}: {verdict.rpartition(': ')[2]}"


if __name__ == "__main__":
    sys.exit(run_script("release-check, aarch64", main))
