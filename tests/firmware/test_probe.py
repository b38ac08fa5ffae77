"""Tables and qualities out of files that other encoders wrote."""

import io
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from programs import needed

from edgeguard.errors import JpegError
from edgeguard.firmware.probe import probe
from edgeguard.guard import GuardProfile, encode_jpeg
from edgeguard.jpeg.decode import decode_rgb


def _pillow(rgb: NDArray[np.uint8], quality: int, subsampling: int = 2) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=quality, subsampling=subsampling)
    return stream.getvalue()


def _tables_by_pillow(data: bytes) -> dict[int, list[int]]:
    image = Image.open(io.BytesIO(data))
    assert isinstance(image, JpegImageFile)
    return image.quantization


@pytest.mark.full
def test_quality_of_cjpeg_and_simplejpeg_from_1_to_100(scene: NDArray[np.uint8], tmp_path: Path) -> None:
    import simplejpeg

    cjpeg = needed("cjpeg")
    small = np.ascontiguousarray(scene[:64, :96])
    Image.fromarray(small).save(tmp_path / "small.ppm")
    for quality in range(1, 101):
        made = subprocess.run(
            [cjpeg, "-quality", str(quality), tmp_path / "small.ppm"], capture_output=True, check=True
        ).stdout
        found = probe(made)
        reference = _tables_by_pillow(made)
        assert found.quality == (quality,) * 3, "cjpeg"
        assert found.info.tables[:2] == tuple(tuple(reference[i]) for i in (0, 1))
        for subsampling in ("420", "444"):
            found = probe(simplejpeg.encode_jpeg(small, quality, "RGB", subsampling))
            assert found.quality == (quality,) * 3 and found.info.sampling == subsampling, "simplejpeg"


@pytest.mark.parametrize("quality", range(1, 101))
def test_quality_of_pillow_and_opencv(scene: NDArray[np.uint8], quality: int) -> None:
    small = np.ascontiguousarray(scene[:48, :64])
    found = probe(_pillow(small, quality))
    assert found.quality == (quality,) * 3 and found.info.sampling == "420" and found.profile == f"jpeg:{quality}"
    reference = _tables_by_pillow(_pillow(small, quality))
    assert found.info.tables[0] == tuple(reference[0]) and found.info.tables[1] == tuple(reference[1])
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    assert probe(data).quality == (quality,) * 3


def test_other_tables_and_samplings(scene: NDArray[np.uint8]) -> None:
    found = probe(encode_jpeg(scene, GuardProfile.preset("fd-jpeg")))
    assert found.quality == (None, None, None) and found.profile == "fd-jpeg"
    assert probe(_pillow(scene, 80, 0)).info.sampling == "444" and probe(_pillow(scene, 80, 0)).profile is None
    own = GuardProfile("mine", "ycbcr422", ((7,) * 64,))
    assert probe(encode_jpeg(scene, own), own).profile == "mine"
    mixed = [cv2.IMWRITE_JPEG_LUMA_QUALITY, 90, cv2.IMWRITE_JPEG_CHROMA_QUALITY, 60]
    found = probe(cv2.imencode(".jpg", scene, mixed)[1].tobytes())
    assert found.quality == (90, 60, 60) and found.info.sampling == "444" and found.profile is None
    with pytest.raises(JpegError):
        probe(b"no jpeg")


def test_signs_of_double_coding(scenes: list[NDArray[np.uint8]]) -> None:
    """On large scenes with texture: once coded shows none, coded again more finely does."""
    generator = np.random.default_rng(0)
    tiles = [np.tile(scene, (2, 2, 1)) for scene in scenes[:4]]
    scene = np.concatenate(tiles, axis=1)
    noise = cv2.GaussianBlur(generator.normal(0, 60, scene.shape).astype(np.float32), (0, 0), 1.5)
    rgb = np.clip(scene + 2 * noise, 0, 255).astype(np.uint8)
    once = [probe(_pillow(rgb, q)).double_coded for q in (75, 85, 95)]
    twice = [probe(_pillow(decode_rgb(_pillow(rgb, a)), b)).double_coded for a, b in ((60, 90), (50, 85), (70, 95))]
    assert once == [False, False, False] and twice == [True, True, True]
    flat = np.full((64, 64, 3), 120, np.uint8)
    assert probe(_pillow(flat, 90)).double_coded is None
