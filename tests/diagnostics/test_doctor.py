import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import needed

from edgeguard.dct import native_kernel
from edgeguard.diagnostics import doctor
from edgeguard.system.confine import Confinement
from edgeguard.system.power import Power


def test_findings_cover_what_the_readme_promises() -> None:
    found = {finding.what for finding in doctor.examine()}
    assert found == {
        "python", "runtime", "opencv", "sanitizer", "jpeg coefficients", "converter", "isolation", "camera",
        "serial ports", "edge tpu", "power",
    }  # fmt: skip


def test_a_throttled_pi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "read_power", lambda: Power(81.5, ("under-voltage",), ("under-voltage", "throttled")))
    finding = doctor._throttling()
    assert finding.status == "problem" and "power supply" in finding.advice
    assert finding.text == "under-voltage now, under-voltage since boot, throttled since boot"


def test_clashing_opencv_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "1.0" if name.startswith("opencv-python") else None)
    finding = doctor._opencv()
    assert finding.status == "problem" and "pip uninstall" in finding.advice


@pytest.fixture
def kernel_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the kernel is looked for; what was found before comes back afterwards."""
    path = tmp_path / "_kernel.so"
    monkeypatch.delenv("EDGEGUARD_KERNEL", raising=False)
    monkeypatch.setattr(native_kernel, "_candidates", lambda: [path])
    for cached in (native_kernel.load_library, native_kernel.instruction_sets):
        cached.cache_clear()
    yield path
    for cached in (native_kernel.load_library, native_kernel.instruction_sets):
        cached.cache_clear()


def elf(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(11) + machine.to_bytes(2, "little")


@pytest.mark.parametrize(
    ("content", "here", "reason"),
    [
        (elf(183), "x86_64", "built for aarch64, this is x86_64"),
        (elf(62), "aarch64", "built for x86_64, this is aarch64"),
        (elf(62), "x86_64", "file too short"),
        (b"not a library" * 10, "x86_64", "invalid ELF header"),
    ],
)
def test_a_kernel_that_cannot_be_loaded(
    kernel_file: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, here: str, reason: str
) -> None:
    kernel_file.write_bytes(content)
    monkeypatch.setattr("platform.machine", lambda: here)
    finding = doctor._sanitizer()
    assert finding.status == "problem" and "wheel for this machine" in finding.advice
    assert finding.text == f"the native kernel is there but cannot be loaded: {kernel_file}: {reason}; numpy serves"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("int eg_abi(void) { return 1; }", "its interface has version 1, this EdgeGuard needs "),
        ("int something_else(void) { return 1; }", "not a kernel of EdgeGuard"),
    ],
)
def test_a_library_that_is_no_kernel_of_this_version(kernel_file: Path, source: str, reason: str) -> None:
    c = kernel_file.with_suffix(".c")
    c.write_text(source)
    subprocess.run([needed("cc", "gcc", "clang"), "-shared", "-fPIC", str(c), "-o", str(kernel_file)], check=True)
    finding = doctor._sanitizer()
    assert finding.status == "problem" and f"{kernel_file}: {reason}" in finding.text


def test_no_kernel_is_no_problem(kernel_file: Path) -> None:
    finding = doctor._sanitizer()
    assert (finding.status, finding.text) == ("note", "no native kernel: numpy serves")


def test_a_kernel_that_is_switched_off(kernel_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel_file.write_bytes(elf(183))
    monkeypatch.setenv("EDGEGUARD_KERNEL", "numpy")
    finding = doctor._sanitizer()
    assert (finding.status, finding.text) == ("note", "numpy serves, as EDGEGUARD_KERNEL says")


def test_a_machine_that_confines_nothing_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeguard.system.isolation.isolation", lambda: Confinement("", "", "seccomp"))
    finding = doctor._isolation()
    assert finding.status == "note" and "files: NOT confined" in finding.text and "Landlock" in finding.advice
