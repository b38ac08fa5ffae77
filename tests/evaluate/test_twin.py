from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from evaluate.one_op import one_op_model
from numpy.typing import NDArray

from edgeguard.dct.color import Color
from edgeguard.dct.profile import Pass
from edgeguard.demo.assets import bundled_model, bundled_program
from edgeguard.differentiable.crop_resize import CropResize, _weights
from edgeguard.differentiable.guard_layer import GuardLayer, to_levels
from edgeguard.differentiable.surrogates import BACKWARDS, Backward, surrogate_codec
from edgeguard.errors import InputError
from edgeguard.evaluate import twin
from edgeguard.evaluate.experiments.patch_certification import certified_accuracy
from edgeguard.evaluate.rebuild.network import Network
from edgeguard.evaluate.run import evaluate
from edgeguard.evaluate.twin import Twin, agreement
from edgeguard.guard import GuardProfile, Sanitizer
from edgeguard.model import Contract, InputSpec, load_model
from edgeguard.model.contract import ContractGuard
from edgeguard.model.input_path import InputPath
from edgeguard.preprocess.crop_resize import crop_and_resize
from edgeguard.preprocess.geometry import place


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


@pytest.mark.parametrize("color", ["rgb", "gray"])
@pytest.mark.parametrize("which", ["only", "first", "second"])
def test_both_know_which_pass_keeps_room(color: Color, which: Pass, scenes: list[NDArray[np.uint8]]) -> None:
    profile = replace(GuardProfile.preset("proof-1"), color=color)
    sanitizer = Sanitizer(profile)
    frame = sanitizer(scenes[0], "first") if which == "second" else scenes[0]
    exact, levels = sanitizer(frame, which), to_levels(frame[None]).requires_grad_(True)
    assert (GuardLayer(profile, which=which)(levels)[0].detach().permute(1, 2, 0).numpy() == exact).all()
    near = surrogate_codec(levels, profile, "straight-through", which)
    assert np.abs(near[0].detach().permute(1, 2, 0).numpy() - exact).mean() < 1.0
    (gradient,) = torch.autograd.grad(near.mean() * near.numel(), levels)
    stretched = 255 / (255 - 2 * profile.room)  # what a level more in every pixel makes of the DC
    expected = {"only": 1.0, "first": 1 / stretched, "second": stretched}[which]
    assert gradient[gradient != 0].sum() / gradient.numel() == pytest.approx(expected, rel=0.05)


def test_the_twin_takes_what_travels(scenes: list[NDArray[np.uint8]]) -> None:
    model = load_model(bundled_model())
    contract = replace(model.contract, guard=ContractGuard(GuardProfile.preset("proof-1"), "frame"))
    path = InputPath(contract)
    received = path.capture(scenes[0])
    module = Twin(torch.nn.Identity(), contract, "frame")
    expected = path.levels(received)[0]
    assert received.rgb is not None
    assert (module(to_levels(received.rgb[None]))[0].permute(1, 2, 0).numpy() == expected).all()


@pytest.mark.parametrize("size", [(320, 240), (50, 40)])
def test_the_resize_is_the_devices_with_its_derivative(size: tuple[int, int], scenes: list[NDArray[np.uint8]]) -> None:
    contract = load_model(bundled_model()).contract
    frame = np.ascontiguousarray(scenes[0][: size[1], : size[0]])
    levels = to_levels(frame[None]).requires_grad_(True)
    layer = CropResize(contract)
    out = layer(levels)
    expected = crop_and_resize(frame, contract.input, contract.preprocess)
    assert np.array_equal(out.detach()[0].permute(1, 2, 0).numpy(), expected)
    rows, columns = _weights(place(*size, contract.input, contract.preprocess))
    source = place(*size, contract.input, contract.preprocess).source
    part = levels.detach()[..., source.top : source.top + source.height, source.left : source.left + source.width]
    assert float((rows @ part @ columns.T - out.detach()).abs().max()) <= 1.01  # the device rounds, after rows too
    weights = torch.rand_like(out)
    (out * weights).sum().backward()
    assert levels.grad is not None
    assert float((levels.grad * levels.detach()).sum()) == pytest.approx(float((out * weights).sum()), rel=1e-3)


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
        with pytest.raises(InputError, match="looks like a picture"):
            refused()


@pytest.mark.parametrize("outputs", ["logits", "probabilities"])
def test_one_output_is_two_classes(outputs: Literal["logits", "probabilities"]) -> None:
    contract = Contract(InputSpec(8, 8), outputs=outputs)
    twin_ = Twin(torch.nn.Identity(), contract, "input")
    given = torch.tensor([[0.8]]) if outputs == "probabilities" else torch.logit(torch.tensor([[0.8]]))
    assert torch.softmax(twin_.of_classes(given), 1).tolist()[0] == pytest.approx([0.2, 0.8], abs=1e-6)
    assert twin_.of_classes(torch.ones(2, 3)).shape == (2, 3)
