"""The guard inside an int8 graph against the float64 reference."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.dct.dct_basis import coefficients, quantize
from edgeguard.dct.planes import component_steps
from edgeguard.dct.reference import reference_sanitize
from edgeguard.errors import InputError
from edgeguard.guard import GuardProfile
from edgeguard.jpeg.blocks import split_blocks
from edgeguard.jpeg.tables import corner_table

pytestmark = pytest.mark.convert

FD = GuardProfile.preset("fd")


def interpreter(data: bytes, **options: Any) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(model_content=data, num_threads=1, **options)
    model.allocate_tensors()
    return model


def run(model: Any, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    model.set_tensor(model.get_input_details()[0]["index"], pixels[None])
    model.invoke()
    return model.get_tensor(model.get_output_details()[0]["index"])[0]


PROFILES = {
    "fd": FD,
    "fd-paper": GuardProfile.preset("fd-paper"),
    "three tables": GuardProfile("x", "rgb", (corner_table(24, 32), corner_table(40, 60), corner_table(9, 100))),
}


@pytest.mark.parametrize("name", PROFILES)
def test_the_stand_alone_sanitiser_is_the_reference_but_for_flips(name: str, scenes: list[NDArray[np.uint8]]) -> None:
    from edgeguard_converters.graph.baked_guard import bake

    profile = PROFILES[name]
    model = interpreter(bake(profile, 320, 240))
    for scene in scenes:
        ours, reference = run(model, scene).astype(int), reference_sanitize(scene, profile).astype(int)
        assert np.abs(ours - reference).mean() < 0.6
        assert (np.abs(ours - reference) <= 2).mean() > 0.98


def test_fewer_than_one_index_in_two_thousand_flips(scenes: list[NDArray[np.uint8]]) -> None:
    """Outside exact ties, which round as the runtime rounds them."""
    from ai_edge_litert.interpreter import OpResolverType

    from edgeguard_converters.graph.baked_guard import bake

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    model = interpreter(bake(FD, 320, 240), experimental_preserve_all_tensors=True, experimental_op_resolver_type=plain)
    indices = next(t["index"] for t in model.get_tensor_details() if t["name"] == "guard_indices")
    steps = component_steps(FD)
    flips = total = 0
    for scene in scenes:
        run(model, scene)
        found = model.get_tensor(indices)[0].reshape(30, 40, 3, 8, 8).astype(int)
        exact = coefficients(split_blocks(scene))
        wanted = quantize(exact, steps)
        wanted[0, 0] -= np.floor(1024 / steps[0, 0])
        tied = np.abs(np.abs(exact / steps - np.floor(exact / steps)) - 0.5) < 1e-6
        wrong = (found != wanted.transpose(2, 3, 4, 0, 1)) & ~tied.transpose(2, 3, 4, 0, 1)
        flips, total = flips + int(wrong.sum()), total + wrong.size
    assert flips / total < 0.0005


def test_what_int8_cannot_hold_is_refused_with_the_band() -> None:
    from edgeguard_converters.graph.baked_guard import bake, check_bakeable

    with pytest.raises(InputError, match="only rgb"):
        bake(GuardProfile.preset("fd-jpeg"), 64, 64)
    with pytest.raises(InputError, match=r"a profile with room \(16\) cannot be baked"):
        bake(GuardProfile.preset("proof-1"), 64, 64)
    with pytest.raises(InputError, match="multiples of 8"):
        bake(FD, 60, 64)
    with pytest.raises(InputError, match="too uneven"):
        bake(GuardProfile("x", "rgb", (corner_table(9, 255),)), 64, 64)
    steps = [16] * 64
    steps[8 * 7 + 1] = 6
    with pytest.raises(InputError, match=r"band \(7, 1\) has step 6: .* at least 7"):
        check_bakeable(GuardProfile("x", "rgb", (tuple(steps),)), 64, 64)
    steps[8 * 7 + 1] = 7
    check_bakeable(GuardProfile("x", "rgb", (tuple(steps),)), 64, 64)


def test_no_index_saturates_at_the_smallest_allowed_steps() -> None:
    """The extreme blocks of each band stay inside int8, so the picture that comes back is right."""
    from edgeguard.dct.dct_basis import DCT, GAIN
    from edgeguard_converters.graph.baked_guard import bake

    least = tuple(int(step) for step in np.ceil(128 * GAIN / 127).ravel())
    profile = GuardProfile("least", "rgb", (least,))
    tiles = [
        np.where(np.outer(DCT[u], DCT[v]) * sign > 0, 255, 0) for u in range(8) for v in range(8) for sign in (1, -1)
    ]
    frame = np.array(tiles, np.uint8).reshape(8, 16, 8, 8).transpose(0, 2, 1, 3).reshape(64, 128)
    frame = np.repeat(frame[:, :, None], 3, axis=2)
    ours = run(interpreter(bake(profile, 128, 64)), frame).astype(int)
    assert np.abs(ours - reference_sanitize(frame, profile)).max() <= 12


@pytest.mark.full
def test_convert_with_a_baked_guard(tmp_path: Path) -> None:
    import cv2
    import torch
    from converters.in_process import convert
    from converters.models import SIDE, tinted_squares, train_residual

    from edgeguard.datasets.images import LabeledImage
    from edgeguard.model import load_model
    from edgeguard.preprocess.crop_resize import crop_and_resize
    from edgeguard_converters.pipeline import Options

    net = train_residual()
    torch.export.save(torch.export.export(net, (torch.zeros(1, 3, SIDE, SIDE),)), str(tmp_path / "m.pt2"))
    pictures, labels = tinted_squares(80, 5)
    images = [
        LabeledImage(f"{i}", cv2.imencode(".png", p[:, :, ::-1])[1].tobytes(), int(label))
        for i, (p, label) in enumerate(zip(pictures, labels, strict=True))
    ]
    options = Options(guard=FD, place="in-graph", preprocess="tf")
    done = convert(tmp_path / "m.pt2", tmp_path / "m.tflite", images[::2], images[1::2], options)
    assert done.contract.guard.place == "in-graph" and done.contract.guard.passes == 1
    assert done.operators["DEPTH_TO_SPACE"] == 1 and done.report.int8_top1 is not None
    assert done.report.int8_top1 >= 0.9
    model = load_model(tmp_path / "m.tflite")
    host = Options(guard=FD, place="input", preprocess="tf")
    convert(tmp_path / "m.pt2", tmp_path / "host.tflite", images[::2], images[1::2], host)
    on_host = load_model(tmp_path / "host.tflite")
    agreed = [model(picture).index == on_host(picture).index for picture in pictures]
    assert np.mean(agreed) >= 0.95
    size = SimpleNamespace(width=SIDE, height=SIDE)
    pixels = crop_and_resize(pictures[0], size, model.contract.preprocess)
    assert model.sanitizer is not None
    assert (model.sanitizer.tensor(pictures[0], model.contract)[0] == pixels).all()


@pytest.mark.full
def test_labels_of_a_third_party_model_survive_on_photographs(shared: Path) -> None:
    """Coral's uint8 MobileNetV2 behind the stand-alone sanitiser, against the reference sanitizer on its input."""
    import csv

    from edgeguard.guard import decode_rgb
    from edgeguard.model import InputSpec, Preprocess
    from edgeguard.preprocess.crop_resize import crop_and_resize
    from edgeguard_converters.graph.baked_guard import bake

    photographs = shared / "data/imagenet500"
    rows = list(csv.reader((photographs / "labels.csv").read_text().splitlines()))[1:]
    guard = interpreter(bake(FD, 224, 224))
    model = interpreter((shared / "models/mobilenet_v2_1.0_224_quant.tflite").read_bytes())
    found = []
    for name, label in rows:
        frame = decode_rgb((photographs / name).read_bytes())
        pixels = crop_and_resize(frame, InputSpec(224, 224), Preprocess())
        reference, baked = (int(run(model, p).argmax()) for p in (reference_sanitize(pixels, FD), run(guard, pixels)))
        found.append((reference, baked, int(label) + 1))
    reference, baked, truth = np.array(found).T
    top1 = (reference == truth).mean(), (baked == truth).mean()
    print(f"top-1 {top1[0]:.3f} with the reference, {top1[1]:.3f} baked; agreement {(reference == baked).mean():.3f}")
    assert abs(top1[0] - top1[1]) <= 0.005 and (reference == baked).mean() >= 0.975
