import subprocess
from pathlib import Path

import pytest

from edgeguard import doctor


def test_findings_cover_what_the_readme_promises() -> None:
    found = {finding.what for finding in doctor.examine()}
    assert found == {
        "python", "runtime", "opencv", "sanitiser", "jpeg coefficients", "converter", "camera", "edge tpu", "power",
    }  # fmt: skip


def test_throttling_bits() -> None:
    assert doctor.decode_throttled(0) == []
    assert doctor.decode_throttled(0x80008) == ["soft temperature limit now", "soft temperature limit since boot"]


def test_a_throttled_pi(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess(["vcgencmd"], 0, "throttled=0x50005\n", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    finding = doctor._throttling()
    assert finding.status == "problem" and "under-voltage now" in finding.text and "power supply" in finding.advice


@pytest.mark.parametrize(("vendor", "product", "state"), [("1a6e", "089a", "before"), ("18d1", "9302", "ready")])
def test_coral_by_its_usb_ids(tmp_path: Path, vendor: str, product: str, state: str) -> None:
    device = tmp_path / "1-2"
    device.mkdir()
    (device / "idVendor").write_text(vendor + "\n")
    (device / "idProduct").write_text(product + "\n")
    (tmp_path / "usb1").mkdir()
    assert [state in text for text in doctor.coral_devices(tmp_path)] == [True]


def test_clashing_opencv_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "1.0" if name.startswith("opencv-python") else None)
    finding = doctor._opencv()
    assert finding.status == "problem" and "pip uninstall" in finding.advice
