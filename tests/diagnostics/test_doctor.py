import pytest

from edgeguard.diagnostics import doctor
from edgeguard.system.confine import Confinement
from edgeguard.system.power import Power


def test_findings_cover_what_the_readme_promises() -> None:
    found = {finding.what for finding in doctor.examine()}
    assert found == {
        "python", "runtime", "opencv", "sanitiser", "jpeg coefficients", "converter", "isolation", "camera", "edge tpu",
        "power",
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


def test_a_machine_that_confines_nothing_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeguard.system.isolation.isolation", lambda: Confinement("", "", "seccomp"))
    finding = doctor._isolation()
    assert finding.status == "note" and "files: NOT confined" in finding.text and "Landlock" in finding.advice
