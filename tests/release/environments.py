"""Clean environments with the wheel inside: where they come from, and how a program is started in them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from release.steps import ROOT, WORK, ReleaseError, attempt, clean_variables, output

#: The Pythons that the wheel has to serve; Raspberry Pi OS has 3.11 (bookworm) and 3.13 (trixie).
VERSIONS = ("3.11", "3.12", "3.13")
_WHEELHOUSE = WORK / "wheelhouse"
_AARCH64_PLATFORMS = ("manylinux2014", *(f"manylinux_2_{minor}" for minor in (17, 26, 27, 28, 31, 34, 35, 36)), "linux")


@dataclass(frozen=True)
class Environment:
    """A Python with the package installed.

    Attributes:
        name: for the reader, as in "x86-64, Python 3.12".
        version: of Python, as in 3.12.
        python: starts it.
        site: its site-packages.
        script: the `edgeguard` that was installed.
        machine: x86_64 or aarch64.
    """

    name: str
    version: str
    python: Path
    site: Path
    script: Path
    machine: str

    @property
    def folder(self) -> Path:
        """Where its programs run: beside the environment, so that the checkout is not found."""
        return self.python.parents[1] / "work"

    def run(self, *arguments: str | Path, **changes: str) -> "subprocess.CompletedProcess[str]":
        """Run its Python with a PATH on which there is no compiler, nor anything else but its own programs."""
        self.folder.mkdir(exist_ok=True)
        variables = clean_variables(PATH=str(self.python.parent), **changes)
        return attempt([self.python, *arguments], cwd=self.folder, variables=variables)

    def edgeguard(self, *arguments: str | Path, **changes: str) -> "subprocess.CompletedProcess[str]":
        """Run `edgeguard` there; it has to succeed.

        Raises:
            ReleaseError: it did not; the text has its last line.
        """
        done = self.run(self.script, *arguments, **changes)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["nothing on standard error"])[-1]
            raise ReleaseError(f"{self.name}: edgeguard {arguments[0]}: exit code {done.returncode}: {last}")
        return done


@cache
def find_python(version: str) -> Path | None:
    """An interpreter of this version: `python3.X` on PATH, or pyenv's. One that does not start does not count."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    on_path = shutil.which(f"python{version}")
    candidates = [*([Path(on_path)] if on_path else []), *sorted(pyenv.glob(f"{version}.*/bin/python{version}"))]
    for candidate in candidates:
        done = attempt([candidate, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"])
        if done.returncode == 0 and done.stdout.strip() == version:
            return candidate
    return None


def python_or_error(version: str) -> Path:
    """As `find_python`.

    Raises:
        ReleaseError: there is none.
    """
    python = find_python(version)
    if python is None:
        raise ReleaseError(f"no Python {version}: neither python{version} on PATH nor in pyenv")
    return python


def bare_venv(version: str, name: str, label: str = "x86-64") -> Environment:
    """A fresh venv of this machine with nothing but pip in it."""
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    output([python_or_error(version), "-m", "venv", folder], variables=clean_variables())
    site = folder / "lib" / f"python{version}" / "site-packages"
    return Environment(
        f"{label}, Python {version}", version, folder / "bin/python", site, folder / "bin/edgeguard", "x86_64"
    )


def pip(python: Path, *arguments: str | Path, **changes: str) -> "subprocess.CompletedProcess[str]":
    """Run the pip of a Python of this machine, with no compiler within reach."""
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", "PATH": str(python.parent)}
    return attempt([python, "-m", "pip", *arguments], cwd=WORK, variables=clean_variables(**{**quiet, **changes}))


def install(python: Path, requirements: Sequence[str | Path], constrained: bool = True) -> None:
    """Install wheels, never sources, from the wheelhouse; what it lacks is downloaded into it first.

    Raises:
        ReleaseError: pip refuses.
    """
    # The bytecode of what is used is written when it is used; that of all the rest takes longer than the checks.
    _from_wheelhouse(python, ["install", "--no-compile"], _wanted(requirements, constrained))


def install_aarch64(site: Path, version: str, requirements: Sequence[str | Path], constrained: bool = True) -> None:
    """Install aarch64 wheels into a folder: this machine's pip does it, with the tags that a Pi's would accept.

    Raises:
        ReleaseError: pip refuses.
    """
    wanted = [*_wanted(requirements, constrained), "--python-version", version, "--implementation", "cp"]
    for tag in _AARCH64_PLATFORMS:
        wanted += ["--platform", f"{tag}_aarch64"]
    _from_wheelhouse(Path(sys.executable), ["install", "--no-compile", "--target", site], wanted)


def _wanted(requirements: Sequence[str | Path], constrained: bool) -> list[str | Path]:
    wanted = ["--only-binary=:all:", "--find-links", _WHEELHOUSE, *requirements]
    return [*wanted, "--constraint", ROOT / "constraints.txt"] if constrained else wanted


def _from_wheelhouse(python: Path, command: list[str | Path], wanted: list[str | Path]) -> None:
    _WHEELHOUSE.mkdir(parents=True, exist_ok=True)
    offline = [*command, "--quiet", "--no-index", *wanted]
    if pip(python, *offline).returncode == 0:
        return
    done = pip(python, "download", "--quiet", "--dest", _WHEELHOUSE, *wanted)
    for copy in _WHEELHOUSE.glob("edgeguard-*"):  # the wheel under test is taken from dist/ alone
        copy.unlink()
    if done.returncode == 0:
        done = pip(python, *offline)
    if done.returncode != 0:
        raise ReleaseError(f"pip {command[0]}: {first_error(done.stderr)}")


def first_error(text: str) -> str:
    """The first line in which pip says what is wrong."""
    return next((line for line in text.splitlines() if line.startswith("ERROR")), "it fails")
