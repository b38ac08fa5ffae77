"""One path from a frame to the tensor: every part of the product gives a model the same bytes."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgeguard.camera import open_source
from edgeguard.datasets.images import LabeledImage, prepare
from edgeguard.dct.jpeg_encode import encode_jpeg
from edgeguard.dct.profile import GuardProfile
from edgeguard.demo.assets import bundled_model
from edgeguard.errors import InputError, JpegError
from edgeguard.guard.passes import receive_jpeg, receive_raw
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.model import ContractGuard, Model, load_model
from edgeguard.model.contract import Contract, InputSpec, Preprocess
from edgeguard.model.input_path import InputPath
from edgeguard.patchguard import patch_guard
from edgeguard.pipeline import Pipeline
from edgeguard.preprocess.region import Region

Tensor = NDArray[np.generic]
ROTATED = 6  # EXIF: the camera was turned by a quarter


def _noise(width: int, height: int, seed: int = 3) -> NDArray[np.uint8]:
    smooth = np.add.outer(np.linspace(0, 120, height), np.linspace(0, 100, width))[:, :, None]
    noise = np.random.default_rng(seed).integers(0, 36, (height, width, 3))
    return (smooth + noise).astype(np.uint8)


def _jpeg(rgb: NDArray[np.uint8], *, subsampling: int = 2, mode: str = "RGB", orientation: int = 1) -> bytes:
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(rgb).convert(mode).save(stream, "JPEG", quality=90, subsampling=subsampling, exif=exif.tobytes())
    return stream.getvalue()


ODD_FRAMES = {
    "1x1": _jpeg(_noise(1, 1)),
    "odd-420": _jpeg(_noise(333, 217)),
    "odd-422": _jpeg(_noise(151, 149), subsampling=1),
    "rotated": _jpeg(_noise(200, 131), orientation=ROTATED),
    "gray": _jpeg(_noise(180, 160), mode="L"),
    "4096-wide": _jpeg(_noise(4096, 150)),
}
GUARDS = {
    "none": ContractGuard(),
    "fd": ContractGuard(GuardProfile.preset("fd"), "frame"),
    "fd-jpeg": ContractGuard(GuardProfile.preset("fd-jpeg"), "frame"),
    "fd-input": ContractGuard(GuardProfile.preset("fd"), "input"),
    "fd-lgs": ContractGuard(GuardProfile.preset("fd"), "frame", "lgs"),
}


@contextmanager
def _tensors() -> Iterator[list[Tensor]]:
    """What any model in this process is given to run."""
    seen: list[Tensor] = []
    run: Callable[..., Any] = Model.run

    def note(self: Model, tensor: Tensor) -> Any:
        seen.append(tensor.copy())
        return run(self, tensor)

    with mock.patch.object(Model, "run", note):
        yield seen


def _guarded(guard: ContractGuard) -> Model:
    model = load_model(bundled_model(), threads=1)
    return model.with_contract(replace(model.contract, guard=guard))


def _run(model: Model, folder: Path, data: bytes) -> None:
    (folder / "frame.jpg").write_bytes(data)
    with Pipeline(open_source(folder), model, keep_frames=False) as pipeline:
        assert len(list(pipeline)) == 1


def _score(model: Model, data: bytes, guard: str) -> None:
    from edgeguard.fieldtest.analysis import score

    score._outcome(model, data, guard, 0, 0)


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("frame", ODD_FRAMES)
def test_every_part_gives_the_model_the_same_bytes(frame: str, guard: str, tmp_path: Path) -> None:
    """A JPEG that no pass 1 of ours has coded, so that a captured frame is a received one."""
    data, model = ODD_FRAMES[frame], _guarded(GUARDS[guard])
    contract = model.contract
    expected = model.input_path(receive_jpeg(data, contract.guard.profile)).tensor
    calibrated = prepare([LabeledImage("frame.jpg", data)], contract)
    with _tensors() as seen:
        _run(model, tmp_path, data)
        _score(model, data, "contract")
        if contract.guard.profile is None or contract.guard.profile.is_pixel_domain:
            model(decode_rgb(data))  # decoded, its coefficients are gone
    assert len(seen) in (2, 3)
    for tensor in (*seen, calibrated):
        assert tensor.shape == expected.shape and tensor.tobytes() == expected.tobytes()


@pytest.mark.parametrize("guard", ["fd", "fd-input"])
@pytest.mark.parametrize("frame", ODD_FRAMES)
def test_pictures_in_memory_go_the_same_way(frame: str, guard: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs torch, from the attack or the convert extra")
    from edgeguard.demo.answers import answer_defended, answer_undefended
    from edgeguard.diagnostics import bench
    from edgeguard.evaluate.engine.targets import Target
    from edgeguard.evaluate.twin import agreement, twin

    torch.set_num_threads(1)
    rgb, model = decode_rgb(ODD_FRAMES[frame]), _guarded(GUARDS[guard])
    path = model.input_path
    undefended = InputPath(model.contract, profile=None)
    defended_tensor = path(path.arrive(rgb)).tensor
    undefended_tensor = undefended(undefended.arrive(rgb)).tensor
    assert defended_tensor.tobytes() != undefended_tensor.tobytes()
    with _tensors() as seen:
        model(rgb)
        answer_defended(model, rgb)
        agreement(twin(bundled_model()), model, [rgb])
    assert [tensor.tobytes() for tensor in seen] == [defended_tensor.tobytes()] * 3
    stages = bench._stages(model, rgb)
    arranged: Any = stages["sanitise to tensor"]()
    assert arranged.tensor.tobytes() == defended_tensor.tobytes()
    with _tensors() as seen:
        answer_undefended(model, rgb)
        Target(str(bundled_model()), "frame").outputs(rgb)
        at_input = Target(str(bundled_model()), "input")
        path_on_disk = tmp_path / "frame.png"
        Image.fromarray(rgb).save(path_on_disk)
        at_input.outputs(at_input.read(str(path_on_disk)))
    assert [tensor.tobytes() for tensor in seen] == [undefended_tensor.tobytes()] * 3


@pytest.mark.parametrize("frame", ODD_FRAMES)
def test_named_guards_and_the_undefended_path_go_the_same_way(frame: str, tmp_path: Path) -> None:
    """What field tests replay by name, what double masking starts from, and what `run --compare` sets beside it."""
    data, model = ODD_FRAMES[frame], _guarded(GUARDS["fd"])
    contract, fd = model.contract, GuardProfile.preset("fd-paper")
    undefended = InputPath(contract, profile=None, patch_guard=None)
    expected = {
        "off": undefended(undefended.arrive(data)).tensor,
        "fd-paper": InputPath(contract, profile=fd)(receive_jpeg(data, fd)).tensor,
        "lgs": InputPath(contract, profile=None, patch_guard=patch_guard("lgs"))(undefended.arrive(data)).tensor,
    }
    for guard, tensor in expected.items():
        with _tensors() as seen:
            _score(model, data, guard)
        assert [t.tobytes() for t in seen] == [tensor.tobytes()]
    with _tensors() as seen:
        _score(model, data, "double-masking")
    assert seen[0].tobytes() == expected["off"].tobytes()
    (tmp_path / "frame.jpg").write_bytes(data)
    with _tensors() as seen:
        with Pipeline(open_source(tmp_path), model, compare_every=1) as pipeline:
            (result,) = list(pipeline)
    defended, compared = seen
    assert compared.tobytes() == expected["off"].tobytes() != defended.tobytes() and result.undefended is not None


@pytest.mark.parametrize("guard", GUARDS)
def test_raw_frames_are_coded_once_by_run_and_by_calibration(guard: str, tmp_path: Path) -> None:
    rgb, model = _noise(333, 217), _guarded(GUARDS[guard])
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "PNG")
    (tmp_path / "frame.png").write_bytes(stream.getvalue())
    profile = model.contract.guard.profile if model.contract.guard.place == "frame" else None
    expected = model.input_path(receive_raw(rgb, profile)).tensor
    with _tensors() as seen:
        with Pipeline(open_source(tmp_path), model) as pipeline:
            (result,) = list(pipeline)
    calibrated = prepare([LabeledImage("frame.png", stream.getvalue())], model.contract)
    assert seen[0].tobytes() == calibrated.tobytes() == expected.tobytes()
    assert result.passes == {"none": 0, "frame": 2}.get(model.contract.guard.place, 1)


def test_what_it_says_of_a_frame() -> None:
    profile = GuardProfile.preset("fd")
    path = InputPath(Contract(InputSpec(32, 32), guard=ContractGuard(profile, "frame")), keep_frame=True)
    captured = path(path.capture(_noise(70, 50)))
    assert (captured.pass1, captured.passes, captured.size, captured.offset) == ("run", 2, (70, 50), (0, 0))
    assert captured.frame is not None and captured.frame.shape == (50, 70, 3)
    certificate = captured.certificate()
    assert certificate is not None and 0 < certificate.share_1 <= 1
    arrived = path(path.arrive(_noise(70, 50)))
    assert (arrived.pass1, arrived.passes, arrived.certificate()) == ("none", 1, None)
    assert captured.decode_ms >= 0 and captured.sanitize_ms > 0


def test_a_camera_that_codes_with_the_profile_did_pass_one() -> None:
    profile = GuardProfile.preset("fd-jpeg")
    path = InputPath(Contract(InputSpec(32, 32), guard=ContractGuard(profile, "frame")))
    prepared = path(path.capture(encode_jpeg(_noise(70, 50), profile)))
    assert (prepared.pass1, prepared.passes, prepared.certificate()) == ("camera", 2, None)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
@pytest.mark.parametrize("crop", ["center", "letterbox", "none"])
def test_levels_quantised_are_the_tensor(dtype: Any, crop: Any) -> None:
    contract = Contract(
        InputSpec(40, 24, dtype),
        Preprocess(crop=crop, mean=(100.0, 120.0, 110.0), std=(50.0, 60.0, 55.0)),
        ContractGuard(GuardProfile.preset("fd"), "frame"),
    )
    for guard in (None, patch_guard("entropy")):
        path = InputPath(contract, patch_guard=guard, region=Region(3, 5, 60, 40))
        received = path.arrive(_noise(120, 90))
        levels, _ = path.levels(received)
        prepared = path(received)
        assert levels.dtype == np.uint8 and prepared.tensor.tobytes() == path.quantize(levels).tobytes()
        assert prepared.offset == (0, 0) and prepared.size == (64, 48)


def test_another_profile_works_at_the_contracts_place() -> None:
    fd, paper = GuardProfile.preset("fd"), GuardProfile.preset("fd-paper")
    at_input = Contract(InputSpec(32, 32), guard=ContractGuard(fd, "input"))
    assert InputPath(at_input, profile=paper).contract.guard == ContractGuard(paper, "input")
    in_graph = Contract(InputSpec(32, 32), guard=ContractGuard(fd, "in-graph"))
    assert InputPath(in_graph, profile=paper).contract.guard == ContractGuard(paper, "frame")
    assert InputPath(at_input, profile=None).contract.guard == ContractGuard()
    rgb = _noise(70, 50)
    baked = InputPath(in_graph)
    bare = InputPath(in_graph, profile=None)
    assert baked(baked.capture(rgb)).tensor.tobytes() == bare(bare.capture(rgb)).tensor.tobytes()


def test_bad_frames_and_regions() -> None:
    path = InputPath(Contract(InputSpec(32, 32)), region=Region(500, 0, 8, 8))
    with pytest.raises(InputError, match="outside 70x50"):
        path(path.arrive(_noise(70, 50)))
    for data in (b"", b"\xff\xd8\xff", ODD_FRAMES["gray"][:-40]):
        with pytest.raises(JpegError):
            path(path.capture(data))
    with pytest.raises(InputError, match="no patch guard 'magic'"):
        InputPath(Contract(InputSpec(32, 32), guard=ContractGuard(patch="magic")))
    coefficients = Contract(
        InputSpec(64, 48, "int8", color="DCT"), guard=ContractGuard(GuardProfile.preset("jpeg:75"), "frame")
    )
    with pytest.raises(InputError, match="no other guard can take its place"):
        InputPath(coefficients, profile=None)
