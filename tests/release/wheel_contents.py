"""What a wheel holds, and what it must and must not hold."""

import re
import zipfile
from pathlib import Path

#: The machine that a wheel's platform names, and the number that ELF files have for it (e_machine).
ELF_MACHINES = {"x86_64": 62, "aarch64": 183}
KERNEL = "edgeguard/dct/_kernel.so"
#: The glibc of Debian bookworm, which Raspberry Pi OS bookworm shares: the oldest that has to take the wheel.
OLDEST_GLIBC = (2, 36)
_ALLOWED = re.compile(r"(edgeguard|edgeguard_converters|edgeguard-[^/]+\.dist-info)/")
_SOURCES = (".h", ".hpp", ".cpp", ".c", ".ijg", ".o", ".a")
_PLATFORM = re.compile(r"-py3-none-manylinux_(\d+)_(\d+)_(x86_64|aarch64)\.whl")


def wheel_mistakes(wheel: Path, machine: str) -> list[str]:
    """One line for each thing that is wrong with a wheel for `machine`; empty when it is right."""
    found = _name_mistakes(wheel.name, machine)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        kernel = archive.read(KERNEL)[:20] if KERNEL in names else None
    strangers = [name for name in names if not _ALLOWED.match(name) or name.endswith(_SOURCES)]
    if strangers:
        found.append(f"it must not hold {', '.join(strangers[:5])}")
    for package in ("edgeguard", "edgeguard_converters", "edgeguard/firmware_configs"):
        if not any(name.startswith(f"{package}/") for name in names):
            found.append(f"it lacks {package}")
    return found + _kernel_mistakes(kernel, machine)


def _name_mistakes(name: str, machine: str) -> list[str]:
    match = _PLATFORM.search(name)
    if match is None or match[3] != machine:
        return [f"its name is not that of a manylinux wheel for {machine} and every Python 3"]
    glibc = int(match[1]), int(match[2])
    if glibc > OLDEST_GLIBC:
        return [f"it needs glibc {glibc[0]}.{glibc[1]}, Debian bookworm has {OLDEST_GLIBC[0]}.{OLDEST_GLIBC[1]}"]
    return []


def _kernel_mistakes(head: bytes | None, machine: str) -> list[str]:
    """`head`: the kernel's first 20 bytes; the last two of them name its machine."""
    if head is None:
        return ["the native kernel is not inside"]
    if head[:5] != b"\x7fELF\x02" or int.from_bytes(head[18:20], "little") != ELF_MACHINES[machine]:
        return [f"its native kernel is not for {machine}"]
    return []
