"""Debian for aarch64 in a folder, and a Python environment on it that runs under qemu.

The environment's `bin/python` is a script that starts qemu with the root's Python. qemu hands the script's own name to
Python as its name, so Python takes the folder for a venv and the script for `sys.executable`: what the product starts
with it (the trial run of a model, for instance) runs emulated too.
"""

import os
import re
import shutil
from pathlib import Path

from release.environments import Environment, find_python, install_aarch64
from release.steps import WORK, ReleaseError, attempt, clean_variables, output

#: Raspberry Pi OS has the same releases; the Python of each.
SUITES = {"bookworm": "3.11", "trixie": "3.13"}
#: What the wheels link to, and the libjpeg-turbo that Raspberry Pi OS has; apt adds what these need.
_PACKAGES = "python3,libstdc++6,libjpeg62-turbo"
_PROGRAMS = {"mmdebstrap": "mmdebstrap", "qemu-aarch64-static": "qemu-user-static"}
# LiteRT reads it: without the file XNNPACK is silently not applied, with this machine's it crashes.
_CORE = """processor\t: {number}
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""


def check_programs() -> None:
    """Name the Debian packages that the emulation needs and that are not there.

    Raises:
        ReleaseError: one is missing.
    """
    missing = [package for program, package in _PROGRAMS.items() if not shutil.which(program)]
    if missing:
        raise ReleaseError(f"the emulation of aarch64 needs (Debian's packages): {' '.join(missing)}")


def debian_root(suite: str, packages: str = _PACKAGES, name: str = "root") -> Path:
    """A folder with packages of a Debian release for aarch64; made once."""
    root = WORK / f"aarch64-{suite}" / name
    complete = root / ".complete"
    if complete.exists() and complete.read_text() == packages:
        return root
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    sources = root.parent / "debian.sources"
    sources.write_text(_sources(suite))
    options = ["--quiet", "--architectures=arm64", "--variant=extract", f"--include={packages}"]
    output(["mmdebstrap", *options, suite, root, sources])
    if not (root / "lib").exists():  # the link is base-files', which is not among the packages
        (root / "lib").symlink_to("usr/lib")
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "cpuinfo").write_text("".join(_CORE.format(number=number) for number in range(4)))
    complete.write_text(packages)
    return root


def emulated(root: Path, *arguments: str | Path) -> list[str | Path]:
    """The command that runs a program of this root."""
    qemu = shutil.which("qemu-aarch64-static")
    assert qemu is not None  # check_programs
    return [qemu, "-cpu", "cortex-a72", "-L", root, *arguments]


def emulated_environment(
    suite: str, requirements: list[str | Path], name: str = "venv", depend: bool = True
) -> Environment:
    """A fresh environment on a Debian release for aarch64, with the wheels of `requirements` installed.

    With `depend` they bring what they want, in the versions that are tested; else the last comes as it is, and the
    others bring what they want, in any version.
    """
    root, version = debian_root(suite), SUITES[suite]
    folder = root.parent / name
    shutil.rmtree(folder, ignore_errors=True)
    site, python = folder / "lib" / f"python{version}" / "site-packages", folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text(f"home = {root}/usr/bin\ninclude-system-site-packages = false\n")
    words = emulated(root, "-0", python, root / "usr" / "bin" / f"python{version}")
    python.write_text(f'#!/bin/sh\nexec {" ".join(str(word) for word in words)} "$@"\n')
    python.chmod(0o755)
    if depend:
        install_aarch64(site, version, requirements)
    else:
        # This order: pip leaves a bin/ that is there as it is, and ours is the script that is wanted.
        install_aarch64(site, version, ["--no-deps", *requirements[-1:]])
        install_aarch64(site, version, requirements[:-1], constrained=False)
    label = f"aarch64, Debian {suite}, Python {version}{'' if depend else ', ' + name}"
    environment = Environment(label, version, python, site, site / "bin" / "edgeguard", "aarch64")
    _compile(environment)
    return environment


def _compile(environment: Environment) -> None:
    """The bytecode that pip would have written on the device.

    Without it emulated programs compile every module, and the installed size is too small. A Python of the same
    version on this machine writes the same bytecode sooner than the emulated one does. Some wheels hold modules for
    other Pythons, which do not compile: pip passes over them too, hence no look at the exit code.
    """
    python = find_python(environment.version) or environment.python
    attempt([python, "-m", "compileall", "-q", environment.site], variables=clean_variables())


def _sources(suite: str) -> str:
    """This machine's Debian mirror, with the suite in place of its own."""
    places = [os.environ.get("EDGEGUARD_DEBIAN_SOURCES", "/etc/apt/sources.list.d/debian.sources")]
    places.append("/etc/apt/sources.list")
    for place in places:
        if Path(place).is_file() and Path(place).stat().st_size:
            return _for_suite(Path(place).read_text(), suite)
    raise ReleaseError("no Debian mirror in /etc/apt: name a sources file in EDGEGUARD_DEBIAN_SOURCES")


def _for_suite(text: str, suite: str) -> str:
    own = re.compile(r"\b(" + "|".join(SUITES) + r")\b")
    named = re.compile(r"\s*(Suites:|deb\b)")
    return "\n".join(own.sub(suite, line) if named.match(line) else line for line in text.splitlines()) + "\n"
