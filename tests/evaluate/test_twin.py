from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from evaluate.one_op import one_op_model
from numpy.typing import NDArray

from edgeguard.dct.color import Color
from edgeguard.demo.assets import bundled_model, bundled_program
from edgeguard.differentiable.crop_resize import CropResize
from edgeguard.differentiable.guard_layer import GuardLayer, to_levels
from edgeguard.differentiable.surrogates import BACKWARDS, Backward, surrogate_codec
from edgeguard.errors import InputError
from edgeguard.evaluate import twin
from edgeguard.evaluate.experiments.patch_certification import certified_accuracy
from edgeguard.evaluate.rebuild.network import Network
from edgeguard.evaluate.run import evaluate
from edgeguard.evaluate.twin import agreement
from edgeguard.guard import GuardProfile, Sanitizer
from edgeguard.model import load_model
from edgeguard.preprocess.crop_resize import crop_and_resize


def test_the_twin_says_what_the_file_says(scenes: list[NDArray[np.uint8]]) -> None:
    found = agreement(twin(bundled_model()), load_model(bundled_model()), scenes)
    assert found.n == len(scenes) and found.agreeing >= found.n - 1
    assert found.largest_difference < 0.5  # logits of about 6


def test_outputs_of_two_sizes_are_a_damaged_file(
    scenes: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in files whose operators say another shape than their tensors."""
    followed, model = twin(bundled_model()), load_model(bundled_model())
    right = Network.outputs
    monkeypatch.setattr(Network, "outputs", lambda self, x: right(self, x).repeat(1, 60))
    with pytest.raises(InputError, match="the file is damaged"):
        agreement(followed, model, scenes[:1])


def test_batches_are_what_single_images_are(scenes: list[NDArray[np.uint8]]) -> None:
    module = twin(bundled_model())
    levels = to_levels(np.stack(scenes))
    with torch.no_grad():
        together, alone = module(levels), torch.cat([module(image) for image in levels.split(1)])
    assert (together.argmax(1) == alone.argmax(1)).all()


@pytest.mark.parametrize("backward", BACKWARDS)
@pytest.mark.parametrize("color", ["rgb", "gray", "ycbcr444", "ycbcr422", "ycbcr420"])
def test_the_guard_is_exact_forward_and_has_a_gradient(
    backward: Backward, color: Color, scenes: list[NDArray[np.uint8]]
) -> None:
    steps = GuardProfile.preset("fd").tables
    profile = GuardProfile("t", color, steps)
    frames = np.stack(scenes[:2])[:, :100, :90]
    levels = to_levels(frames).requires_grad_(True)
    out = GuardLayer(profile, backward)(levels)
    exact = np.stack([Sanitizer(profile)(frame) for frame in frames])
    assert np.array_equal(out.detach().permute(0, 2, 3, 1).numpy(), exact)
    (out * torch.rand(out.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    assert levels.grad is not None and torch.isfinite(levels.grad).all() and levels.grad.abs().sum() > 0


@pytest.mark.parametrize("color", ["rgb", "gray", "ycbcr444", "ycbcr420"])
def test_the_surrogate_codec_is_near_the_real_one(color: Color, scenes: list[NDArray[np.uint8]]) -> None:
    steps = GuardProfile.preset("fd").tables
    profile = GuardProfile("t", color, steps)
    near = surrogate_codec(to_levels(scenes[0][None]), profile, "straight-through")[0].permute(1, 2, 0).numpy()
    assert np.abs(near - Sanitizer(profile)(scenes[0])).mean() < 1.0


@pytest.mark.parametrize("size", [(320, 240), (50, 40)])
def test_the_resize_is_the_devices_with_its_derivative(size: tuple[int, int], scenes: list[NDArray[np.uint8]]) -> None:
    contract = load_model(bundled_model()).contract
    frame = np.ascontiguousarray(scenes[0][: size[1], : size[0]])
    levels = to_levels(frame[None]).requires_grad_(True)
    layer = CropResize(contract)
    out = layer(levels)
    expected = crop_and_resize(frame, contract.input, contract.preprocess)
    assert np.array_equal(out.detach()[0].permute(1, 2, 0).numpy(), expected)
    assert (
        float((layer._linear(levels.detach()) - out.detach()).abs().max()) <= 4.0
    )  # where OpenCV enlarges it has its own rule
    out.sum().backward()
    assert levels.grad is not None and float(levels.grad.sum()) == pytest.approx(out.numel(), rel=1e-3)


def test_the_undefended_twin_has_no_guard(scenes: list[NDArray[np.uint8]]) -> None:
    module = twin(bundled_model())
    assert module.guard is not None and module.undefended().guard is None
    other = module.guarded(GuardProfile.preset("fd-paper")).guard
    assert other is not None and other.profile.name == "fd-paper"


def test_what_is_no_tflite_is_refused() -> None:
    with pytest.raises(InputError, match="TFL3"):
        twin(bundled_program())


def test_a_model_that_segments_is_told_so(tmp_path: Path, card_images: Path) -> None:
    options = schema.ResizeBilinearOptionsT()
    options.halfPixelCenters = True
    path = tmp_path / "segments.tflite"
    path.write_bytes(one_op_model("RESIZE_BILINEAR", options, [np.array([6, 8], np.int32)], (1, 3, 4, 3), (1, 6, 8, 3)))
    for refused in (
        lambda: twin(path),
        lambda: evaluate(path, card_images, "quick", tmp_path / "out"),
        lambda: certified_accuracy(path, card_images),
    ):
        with pytest.raises(InputError, match=r"6x8x3 values, not with one score for each class \(it segments"):
            refused()
