"""JPEGs and frames as the quantised coefficients that a coefficient model reads."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import jpeglib
import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn, idctn

from edgeguard.dct import libjpeg
from edgeguard.guard import GuardProfile, JpegError, encode_jpeg, read_jpeg_info, sanitize_jpeg
from edgeguard.guard.passes import receive_jpeg, receive_raw, received_tensor
from edgeguard.guard.sanitizer import frame_to_tensor
from edgeguard.model import Contract, ContractGuard, InputSpec, Preprocess
from edgeguard.preprocess.crop_resize import crop_and_resize, sanitize
from edgeguard.preprocess.dct_input import (
    averaged,
    frame_indices,
    is_at_model_size,
    jpeg_indices,
    picture,
    picture_size,
    tensor_shape,
)

DType = Literal["uint8", "int8", "float32"]
Q75 = GuardProfile.preset("jpeg:75")
SAMPLING = {"444": 0, "422": 1, "420": 2}


def scene_of(seed: int, height: int, width: int, cells: int = 8) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def jpeg_of(rgb: NDArray[np.uint8], sampling: str = "420", quality: int = 90, **options: object) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(rgb)
    if sampling == "gray":
        image.convert("L").save(buffer, "JPEG", quality=quality)
    else:
        image.save(buffer, "JPEG", quality=quality, subsampling=SAMPLING[sampling], **options)
    return buffer.getvalue()


def contract_of(
    width: int, height: int, dtype: Literal["uint8", "int8", "float32"] = "int8", **fields: Any
) -> Contract:
    spec = InputSpec(width, height, dtype, color="DCT")
    preprocess = Preprocess(crop_fraction=1.0, mean=(128.0,) * 3, std=(1.0,) * 3)
    return Contract(spec, preprocess, ContractGuard(Q75, "frame"), **fields)


@settings(max_examples=examples(60), deadline=None)
@given(
    seed=st.integers(0, 2**16),
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    quality=st.integers(1, 75),
    cells=st.integers(2, 9),
)
def test_a_frame_s_coefficients_are_its_sanitised_picture(
    seed: int, rows: int, columns: int, quality: int, cells: int
) -> None:
    """Inverse transform, upsampling and colours give `sanitize`'s bytes: the same quantiser, another way to it."""
    frame, profile = scene_of(seed, 16 * rows, 16 * columns, cells), GuardProfile.preset(f"jpeg:{quality}")
    tensor = frame_indices(frame, profile)
    assert tensor.shape == tensor_shape(frame.shape[1], frame.shape[0])
    assert picture_size(*tensor.shape[:2]) == (frame.shape[1], frame.shape[0])
    if tensor.min() > 0 and tensor.max() < 255:  # nothing saturated
        assert (picture(tensor, profile) == sanitize(frame, profile)).all()


def test_flat_frames_reach_the_ends() -> None:
    """A DC step of 8 is the least that holds black and white."""
    for level, index in ((0, -128), (128, 0), (255, 127)):
        tensor = frame_indices(np.full((16, 16, 3), level, np.uint8), Q75)
        assert (tensor[:2, :, 0].astype(int) - 128 == index).all()
        assert (tensor[:2, :, 1:] == 128).all() and (tensor[2] == 128).all()


@pytest.mark.parametrize("quality", [30, 75, 90])
def test_a_420_jpeg_gives_the_coefficients_that_jpeglib_reads(quality: int, tmp_path: Path) -> None:
    data = jpeg_of(scene_of(1, 96, 160), quality=quality)
    info = read_jpeg_info(data)
    rows, half = 12, 10
    tensor = jpeg_indices(data, info, Q75).astype(int) - 128
    (tmp_path / "received.jpg").write_bytes(data)
    coded = jpeglib.read_dct(str(tmp_path / "received.jpg"))
    parts = (tensor[:rows], tensor[rows:, :half], tensor[rows:, half:])
    for part, plane, source, target in zip(
        parts, (coded.Y, coded.Cb, coded.Cr), info.tables, Q75.component_tables, strict=True
    ):
        levels = plane.astype(int) * np.reshape(source, (8, 8))
        steps = np.reshape(target, (8, 8))
        wanted = np.sign(levels) * ((2 * np.abs(levels) + steps) // (2 * steps))
        assert (part == wanted.reshape(*plane.shape[:2], 64)).all()


@pytest.mark.parametrize("sampling", ["444", "422"])
def test_finer_chroma_is_averaged_as_in_pixels(sampling: str) -> None:
    """Against scipy: decode each chroma block exactly, average its pixels, transform, divide."""
    data = jpeg_of(scene_of(2, 64, 96), sampling, 95)
    info = read_jpeg_info(data)
    tensor = jpeg_indices(data, info, Q75).astype(int) - 128
    planes = libjpeg.indices_native(data, info, ((1,) * 64,) * 3) if libjpeg.libjpeg_path() else None
    if planes is None:
        pytest.skip("the native library or libjpeg is missing")
    for number, part in ((1, tensor[8:, :6]), (2, tensor[8:, 6:])):
        rows, columns, _ = planes[number].shape
        blocks = planes[number].reshape(rows, columns, 8, 8).astype(float)
        pixels = idctn(blocks, axes=(2, 3), norm="ortho").transpose(0, 2, 1, 3).reshape(8 * rows, 8 * columns)
        across = 2 if sampling == "444" else 1
        small = pixels.reshape(8 * rows // 2, 2, 8 * columns // across, across).mean((1, 3))
        grid = small.reshape(rows // 2, 8, columns // across, 8).transpose(0, 2, 1, 3)
        exact = dctn(grid, axes=(2, 3), norm="ortho") / np.reshape(Q75.component_tables[number], (8, 8))
        difference = np.abs(part - exact.reshape(rows // 2, columns // across, 64))
        assert difference.max() <= 0.5 + 1e-6


def test_averaging_keeps_flat_blocks() -> None:
    flat = np.zeros((2, 2, 64))
    flat[..., 0] = 80
    assert averaged(flat, 2, 2).ravel() == pytest.approx([80] + [0] * 63, abs=1e-9)


def test_gray_has_no_chroma() -> None:
    data = jpeg_of(scene_of(3, 32, 32), "gray")
    tensor = jpeg_indices(data, read_jpeg_info(data), Q75)
    assert tensor.shape == (6, 4, 64) and (tensor[4:] == 128).all() and tensor[:4].std() > 0


@pytest.mark.parametrize("sampling", ["420", "422", "444", "gray"])
def test_without_the_native_library(monkeypatch: pytest.MonkeyPatch, sampling: str) -> None:
    data = jpeg_of(scene_of(4, 48, 80), sampling)
    info = read_jpeg_info(data)
    expected = jpeg_indices(data, info, Q75)
    monkeypatch.setattr(libjpeg, "libjpeg_path", lambda: None)
    assert (jpeg_indices(data, info, Q75) == expected).all()


def test_frames_and_their_jpegs_are_nearly_the_same() -> None:
    """libjpeg's transform and ours differ in ties only; a second pass through the same tables changes nothing."""
    frame = scene_of(5, 224, 224)
    ours = frame_indices(frame, Q75).astype(int)
    data = encode_jpeg(frame, Q75)
    theirs = jpeg_indices(data, read_jpeg_info(data), Q75).astype(int)
    assert (ours != theirs).mean() < 0.02 and np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize(("dtype", "offset"), [("int8", 0), ("uint8", 128), ("float32", 0)])
def test_the_model_s_tensor(dtype: DType, offset: int) -> None:
    """JPEGs of the model's size keep their own blocks; every other frame is cropped, resized and transformed."""
    contract = contract_of(64, 48, dtype)
    data = encode_jpeg(scene_of(6, 48, 64), Q75)
    tensor = received_tensor(receive_jpeg(data, Q75), contract, Q75)
    assert tensor.shape == (1, *contract.input.shape) and tensor.dtype == np.dtype(dtype)
    assert (tensor[0].astype(int) - offset == jpeg_indices(data, read_jpeg_info(data), Q75).astype(int) - 128).all()
    assert (sanitize_jpeg(data, Q75, contract) == tensor).all()

    large = scene_of(7, 240, 320)
    tensor = frame_to_tensor(large, contract, Q75)
    pixels = crop_and_resize(large, contract.input, contract.preprocess)
    assert (tensor[0].astype(int) - offset == frame_indices(pixels, Q75).astype(int) - 128).all()
    received = receive_raw(large, Q75)
    assert received.jpeg is not None
    assert np.abs(received_tensor(received, contract, Q75).astype(int) - tensor.astype(int)).mean() < 1


def test_only_whole_unturned_frames_keep_their_blocks() -> None:
    contract = contract_of(64, 48)
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = read_jpeg_info(jpeg_of(scene_of(8, 48, 64), exif=exif.tobytes()))
    same, larger = (read_jpeg_info(jpeg_of(scene_of(8, h, w))) for h, w in ((48, 64), (96, 128)))
    assert is_at_model_size(same, contract.input, contract.preprocess)
    assert not is_at_model_size(larger, contract.input, contract.preprocess)
    assert not is_at_model_size(turned, contract.input, contract.preprocess)
    assert not is_at_model_size(same, contract.input, Preprocess(crop_fraction=0.8))
    assert not is_at_model_size(replace(same, sampling="other"), contract.input, contract.preprocess)


def test_no_input_without_a_profile() -> None:
    with pytest.raises(ValueError, match="guard's profile"):
        frame_to_tensor(scene_of(9, 48, 64), contract_of(64, 48), None)


@settings(max_examples=examples(150), deadline=None)
@given(data=st.data())
def test_hurt_jpegs_are_refused_or_read(data: st.DataObject) -> None:
    whole = bytearray(jpeg_of(scene_of(10, 32, 48), data.draw(st.sampled_from(["420", "422", "444", "gray"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(2, len(whole) - 1))] = data.draw(st.integers(0, 255))
    contract = contract_of(48, 32)
    try:
        tensor = sanitize_jpeg(bytes(whole), Q75, contract)
    except JpegError:
        return
    assert tensor.shape == (1, 6, 6, 64)


def test_another_sampling_is_one_line() -> None:
    data = jpeg_of(scene_of(11, 32, 32), "422", quality=80)
    info = read_jpeg_info(data)
    with pytest.raises(JpegError, match="only 4:2:0"):
        jpeg_indices(data, replace(info, sampling="other"), Q75)
