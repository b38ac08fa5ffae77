"""The three ways in which a Coral cannot be used, told apart."""

from pathlib import Path

import pytest

from edgeguard.errors import DeviceError
from edgeguard.model import edgetpu


@pytest.mark.parametrize(("vendor", "product", "state"), [("1a6e", "089a", "waiting"), ("18d1", "9302", "initialised")])
def test_coral_by_its_usb_ids(tmp_path: Path, vendor: str, product: str, state: str) -> None:
    device = tmp_path / "1-2"
    device.mkdir()
    (device / "idVendor").write_text(vendor + "\n")
    (device / "idProduct").write_text(product + "\n")
    (tmp_path / "usb1").mkdir()
    assert [state in text for text in edgetpu.coral_devices(tmp_path, tmp_path)] == [True]
    (tmp_path / "apex_0").touch()
    assert len(edgetpu.coral_devices(tmp_path, tmp_path)) == 2


def _refused(library: str) -> object:
    raise ValueError(f"Failed to load delegate from {library}")


@pytest.mark.parametrize(
    ("library", "devices", "said"),
    [
        (False, ["Coral"], "is not installed"),
        (True, [], "no Coral on USB or PCIe"),
        (True, ["Coral USB accelerator"], "cannot open it"),
    ],
)
def test_three_failures(monkeypatch: pytest.MonkeyPatch, library: bool, devices: list[str], said: str) -> None:
    monkeypatch.setattr(edgetpu, "library_is_there", lambda: library)
    with pytest.raises(DeviceError, match=said):
        edgetpu.edgetpu_delegate(_refused, lambda: devices)


def test_a_coral_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edgetpu, "library_is_there", lambda: True)
    assert edgetpu.edgetpu_delegate(lambda library: f"delegate {library}", lambda: ["Coral"]).endswith(
        "libedgetpu.so.1"
    )
