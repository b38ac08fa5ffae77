"""A model that crashes the runtime crashes a child, and the service answers."""

import subprocess
from pathlib import Path

import pytest

from edgeguard.demo.assets import bundled_model
from edgeguard.errors import DeviceError, InputError
from edgeguard.model import crash_probe as probe
from edgeguard.model import load_model


def test_a_good_model_passes() -> None:
    probe.probe(bundled_model().read_bytes())
    assert load_model(bundled_model(), try_first=True).classes == 13


@pytest.mark.parametrize("data", [b"", b"hello", bytes(100)])
def test_what_is_no_model_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        probe.probe(data)
    assert "\n" not in str(caught.value)


def test_damaged_bytes_never_crash_this_process() -> None:
    """Whatever the runtime makes of them, even a crash."""
    whole = bytearray(bundled_model().read_bytes())
    for position in range(200, 4000, 700):
        damaged = bytearray(whole)
        damaged[position : position + 16] = b"\xff" * 16
        try:
            probe.probe(bytes(damaged))
        except InputError as error:
            assert str(error)


def test_a_crash_and_a_missing_device_are_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def ends(code: int, said: str) -> None:
        done = subprocess.CompletedProcess([], code, b"", said.encode())
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    ends(-11, "")
    with pytest.raises(InputError, match=r"crashes on the model \(SIGSEGV\): the file is damaged or hostile"):
        load_model(bundled_model(), try_first=True)
    with pytest.raises(InputError, match="libedgetpu does not fit the runtime"):
        probe.probe(b"", "edgetpu")
    ends(3, "noise\nno Coral on USB or PCIe")
    with pytest.raises(DeviceError, match=r"^no Coral on USB or PCIe"):
        probe.probe(b"", "edgetpu")
