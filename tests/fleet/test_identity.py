"""A device's key is its own, and it is made without a change for other threads."""

import os
import stat
from pathlib import Path

import pytest

from edgeguard.errors import DeviceError
from edgeguard.fleet.identity import device_key
from edgeguard.fleet.layout import Layout


def test_a_key_is_made_once_and_for_its_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "umask", None)  # whoever sets it changes it for every thread
    layout = Layout(tmp_path)
    key = device_key(layout)
    assert stat.S_IMODE((layout.identity / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE(layout.identity.stat().st_mode) == 0o700
    assert device_key(layout).private_bytes_raw() == key.private_bytes_raw()
    (layout.identity / "key").write_bytes(b"short")
    with pytest.raises(DeviceError, match="enroll the device again"):
        device_key(layout)
