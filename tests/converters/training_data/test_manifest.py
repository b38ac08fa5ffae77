"""One changed byte, one moved file and one forged line of a manifest are found."""

import functools
import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import here
from hypothesis import given
from hypothesis import strategies as st
from stripes import write_classes

pytest.importorskip("cryptography", reason="the data extra is not installed")

from edgeguard.errors import DeviceError
from edgeguard_converters.training_data import keys, scan
from edgeguard_converters.training_data import manifest as written
from edgeguard_converters.training_data.image_facts import ImageFacts, image_facts
from edgeguard_converters.training_data.manifest import Manifest, differences
from edgeguard_converters.training_data.merkle import merkle_root


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "data", 3)


@pytest.fixture
def manifest(data: Path, tmp_path: Path) -> Path:
    assert here("data", "keygen", tmp_path / "me").returncode == 0
    done = here("data", "manifest", data, "--output", tmp_path / "m.json", "--key", tmp_path / "me.key")
    assert done.returncode == 0, done.stderr
    return tmp_path / "m.json"


def _verify(data: Path, manifest: Path, *words: object):
    return here("data", "verify", data, "--manifest", manifest, *words)


def test_a_process_that_is_killed_while_it_reads_images_is_said(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was a bug of ours, with exit code 70: what a decoder breaks by a picture is no bug."""
    monkeypatch.setattr(scan, "single_thread_opencv", functools.partial(os._exit, 1))
    with pytest.raises(DeviceError, match="a process that read images was killed"):
        scan.scan(data, workers=2)


def test_a_full_disk_leaves_no_half_of_a_pair_of_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A private key without its public one stayed, and the next try was refused because of it."""

    def full(path: Path, data: bytes) -> None:
        raise DeviceError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(keys, "write_bytes", full)
    with pytest.raises(DeviceError):
        keys.make_keys(tmp_path / "me")
    assert not list(tmp_path.iterdir())


def test_a_manifest_that_could_not_be_read_is_not_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(written, "_MOST_BYTES", 1000)
    done = here("data", "manifest", data, "--output", tmp_path / "m.json")
    assert done.returncode == 2 and "more than a manifest holds" in done.stderr and not (tmp_path / "m.json").exists()


def test_copies_that_were_renamed_take_no_time(tmp_path: Path) -> None:
    """Of 10^5 copies of one image each name that went was looked for from the beginning of a list."""
    facts = ImageFacts(1, hashlib.sha256(b"x").hexdigest())
    before = Manifest(tuple(scan.ScannedImage(f"a/{n}.png", "a", facts) for n in range(1000)))
    lines = differences(before, [scan.ScannedImage(f"a/new-{n}.png", "a", facts) for n in range(1000)])
    assert len(lines) == 1000 and lines[-1] == "renamed: a/999.png is now a/new-999.png"


def test_what_was_not_touched_passes_as_folder_and_as_zip(data: Path, manifest: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for file in data.rglob("*.png"):
            archive.write(file, file.relative_to(data))
    for place in (data, tmp_path / "data.zip"):
        done = _verify(place, manifest, "--public-key", tmp_path / "me.pub")
        assert done.returncode == 0 and "18 images" in done.stdout, done.stderr
    assert (tmp_path / "me.key").stat().st_mode & 0o077 == 0


def test_each_kind_of_difference_is_found_and_named(data: Path, manifest: Path) -> None:
    file = data / "train" / "along" / "001.png"
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    pixels = cv2.imread(str(data / "train" / "along" / "002.png"))
    assert pixels is not None
    cv2.imwrite(str(data / "train" / "along" / "002.png"), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    shutil.move(data / "train" / "across" / "000.png", data / "train" / "round" / "moved.png")
    shutil.move(data / "test" / "across" / "000.png", data / "test" / "across" / "other.png")
    (data / "test" / "round" / "002.png").unlink()
    cv2.imwrite(str(data / "test" / "round" / "new.png"), np.zeros((32, 32, 3), np.uint8))
    done = _verify(data, manifest)
    assert done.returncode == 1
    assert set(done.stdout.splitlines()) == {
        "changed: train/along/001.png",
        "changed: train/along/002.png (the pixels are the same, the file is not)",
        "moved from class across to round: train/across/000.png is now train/round/moved.png",
        "renamed: test/across/000.png is now test/across/other.png",
        "removed: test/round/002.png",
        "added: test/round/new.png",
    }


def test_a_changed_manifest_a_stranger_and_another_schema_are_refused(
    data: Path, manifest: Path, tmp_path: Path
) -> None:
    said = json.loads(manifest.read_text())
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps({**said, "origin": {"licence": "none needed"}}))
    assert (done := _verify(data, forged)).returncode == 2 and "signature does not hold" in done.stderr
    here("data", "keygen", tmp_path / "other")
    done = _verify(data, manifest, "--public-key", tmp_path / "other.pub")
    assert done.returncode == 2 and "is signed by" in done.stderr
    forged.write_text(json.dumps({name: value for name, value in said.items() if name != "signature"}))
    assert _verify(data, forged).returncode == 0  # unsigned, and true
    done = _verify(data, forged, "--public-key", tmp_path / "me.pub")
    assert done.returncode == 2 and "is not signed" in done.stderr
    said.pop("signature")
    said["files"][0]["sha256"] = "0" * 64
    forged.write_text(json.dumps(said))
    assert (done := _verify(data, forged)).returncode == 2 and "contradicts itself" in done.stderr
    forged.write_text(json.dumps({**said, "schema": 9}))
    assert (done := _verify(data, forged)).returncode == 2 and "schema 9" in done.stderr
    forged.write_text("{}")
    assert _verify(data, forged).returncode == 2


def test_texts_that_are_no_utf8_are_refused(data: Path, manifest: Path, tmp_path: Path) -> None:
    """Each was a bug of ours, with exit code 70: the command line's after the long work."""
    done = here("data", "manifest", data, "--output", tmp_path / "x.json", "--licence", "\udcff")
    assert done.returncode == 2 and "is no UTF-8: give a text" in done.stderr and not (tmp_path / "x.json").exists()
    said = json.loads(manifest.read_text())
    del said["signature"]
    for wrong in (
        {"files": [{**said["files"][0], "name": "\ud800/0.png", "class": "\ud800"}]},
        {"origin": {"licence": "\ud800"}},
    ):
        (tmp_path / "wrong.json").write_text(json.dumps({**said, **wrong}))
        done = _verify(data, tmp_path / "wrong.json")
        assert done.returncode == 2 and "bug of ours" not in done.stderr, done


def test_keys_are_not_written_over_and_not_mixed_up(data: Path, manifest: Path, tmp_path: Path) -> None:
    assert here("data", "keygen", tmp_path / "me").returncode == 2
    done = _verify(data, manifest, "--public-key", tmp_path / "me.key")
    assert done.returncode == 2 and "take NAME.pub" in done.stderr
    done = here("data", "manifest", data, "--output", tmp_path / "x.json", "--key", tmp_path / "me.pub")
    assert done.returncode == 2 and not (tmp_path / "x.json").exists()


def test_a_broken_image_is_counted_and_kept_in_the_root(data: Path, tmp_path: Path) -> None:
    (data / "train" / "along" / "000.png").write_bytes(b"no picture")
    done = here("data", "manifest", data, "--output", tmp_path / "m.json", "--json")
    assert json.loads(done.stdout)["broken"] == 1 and "train/along/000.png" in done.stderr
    assert _verify(data, tmp_path / "m.json").returncode == 0


def _rfc_6962(leaves: list[bytes]) -> bytes:
    """Section 2.1 as it is written: the largest power of two smaller than n splits."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + _rfc_6962(leaves[:split]) + _rfc_6962(leaves[split:])).digest()


@given(st.lists(st.binary(max_size=4), max_size=40))
def test_the_tree_is_that_of_rfc_6962(leaves: list[bytes]) -> None:
    assert merkle_root(leaves) == _rfc_6962(leaves)


def test_perceptual_hashes_are_those_of_imagehash(scenes: list[np.ndarray]) -> None:
    imagehash = pytest.importorskip("imagehash", reason="a development package")
    from PIL import Image

    rng = np.random.default_rng(0)
    pictures = [*scenes, *(rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((32, 32), (28, 28), (9, 70)))]
    for picture in pictures:
        content = cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes()
        assert image_facts(content).phash == str(imagehash.phash(Image.fromarray(picture)))


def test_coding_is_named(scene: np.ndarray) -> None:
    jpeg = cv2.imencode(".jpg", scene, [cv2.IMWRITE_JPEG_QUALITY, 61])[1].tobytes()
    assert image_facts(jpeg).coding == "JPEG 61 420"
    gray = image_facts(cv2.imencode(".png", scene[:, :, 0])[1].tobytes())
    assert (gray.coding, gray.channels) == ("PNG", "L")
    assert image_facts("permission denied").fault == "permission denied"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif", ".gif"])
def test_every_format_that_is_read_elsewhere_has_facts(suffix: str) -> None:
    data = cv2.imencode(suffix, np.full((16, 24, 3), 90, np.uint8))[1].tobytes()
    facts = image_facts(data)
    assert facts.fault is None and (facts.width, facts.height) == (24, 16)
