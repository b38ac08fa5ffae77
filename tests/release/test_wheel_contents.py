import zipfile
from pathlib import Path

import pytest
from release.wheel_contents import ELF_MACHINES, KERNEL, wheel_mistakes

NAME = "edgeguard-1.0-py3-none-manylinux_2_34_aarch64.whl"
PARTS = ("edgeguard/__init__.py", "edgeguard_converters/__init__.py", "edgeguard/firmware_configs/pi5.toml")


def wheel(folder: Path, *more: str, name: str = NAME, kernel: str | None = "aarch64") -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for part in (*PARTS, "edgeguard-1.0.dist-info/METADATA", *more):
            archive.writestr(part, "")
        if kernel:
            archive.writestr(KERNEL, b"\x7fELF\x02\x01\x01" + bytes(11) + ELF_MACHINES[kernel].to_bytes(2, "little"))
    return path


def test_a_good_wheel(tmp_path: Path) -> None:
    assert wheel_mistakes(wheel(tmp_path), "aarch64") == []


@pytest.mark.parametrize(
    ("more", "name", "kernel", "mistake"),
    [
        ((), NAME, None, "the native kernel is not inside"),
        ((), NAME, "x86_64", "its native kernel is not for aarch64"),
        (("edgeguard/dct/native/kernel.h",), NAME, "aarch64", "it must not hold edgeguard/dct/native/kernel.h"),
        (("tests/conftest.py",), NAME, "aarch64", "it must not hold tests/conftest.py"),
        ((), NAME.replace("2_34", "2_38"), "aarch64", "it needs glibc 2.38, Debian bookworm has 2.36"),
        ((), NAME.replace("aarch64", "x86_64"), "aarch64", "its name is not that of a manylinux wheel for aarch64"),
        ((), NAME.replace("manylinux_2_34", "linux"), "aarch64", "its name is not that of a manylinux wheel"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, more: tuple[str, ...], name: str, kernel: str | None, mistake: str
) -> None:
    found = wheel_mistakes(wheel(tmp_path, *more, name=name, kernel=kernel), "aarch64")
    assert len(found) == 1 and found[0].startswith(mistake)


def test_a_package_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(KERNEL, b"\x7fELF\x02\x01\x01" + bytes(11) + ELF_MACHINES["aarch64"].to_bytes(2, "little"))
    assert wheel_mistakes(path, "aarch64") == ["it lacks edgeguard_converters", "it lacks edgeguard/firmware_configs"]
