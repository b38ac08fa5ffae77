"""Copies of files on a machine that others use as well."""

from pathlib import Path

import pytest

from edgeguard.errors import DeviceError
from edgeguard.evaluate.engine.remote_files import keep_copy


@pytest.mark.parametrize("kind", ["link", "open", "file"])
def test_a_folder_of_copies_that_is_not_ours_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Its name in the temporary folder can be foreseen."""
    folder, elsewhere = tmp_path / "copies", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "link":
        folder.symlink_to(elsewhere)
    elif kind == "open":
        folder.mkdir()
        folder.chmod(0o777)
    else:
        folder.write_text("")
    monkeypatch.setenv("EDGEGUARD_EVALUATE_FILES", str(folder))
    with pytest.raises(DeviceError, match="is not this user's alone"):
        keep_copy("/machine/elsewhere/photo.jpg", b"abc")
    assert list(elsewhere.iterdir()) == []
