"""ONNX models against onnx's own reference evaluator."""

import importlib
import os
from pathlib import Path

import numpy as np
import pytest

onnx = (
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    if not os.environ.get("CI")
    else importlib.import_module("onnx")
)

from converters.onnx_models import make_onnx  # noqa: E402

from edgeguard.errors import InputError  # noqa: E402
from edgeguard_converters.graph.normalization import PRESETS, Normalization  # noqa: E402
from edgeguard_converters.load.model_process import ModelProcess  # noqa: E402
from edgeguard_converters.load.registry import load_source  # noqa: E402

SIDE = 32


@pytest.mark.parametrize("preset", ["tf", "imagenet"])
@pytest.mark.full
def test_the_float_graph_answers_like_the_reference(tmp_path: Path, preset: str) -> None:
    from onnx.reference import ReferenceEvaluator

    model = make_onnx(tmp_path / "m.onnx", SIDE)
    source = load_source(tmp_path / "m.onnx")
    assert (source.kind, source.size) == ("ONNX", (SIDE, SIDE))
    pixels = np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    normalization = Normalization(*PRESETS[preset], "t")
    x = normalization.apply(pixels)
    expected = ReferenceEvaluator(model).run(None, {"x": x.transpose(0, 3, 1, 2)})[0]
    np.testing.assert_allclose(source.outputs(x)[0], expected, rtol=1e-4, atol=1e-4)
    graph = source.export(normalization, (SIDE, SIDE), tmp_path, tmp_path / "log")
    found = graph.outputs(pixels)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("side", [SIDE, None])
def test_one_channel_is_gray(tmp_path: Path, last: bool, side: int | None) -> None:
    from onnx.reference import ReferenceEvaluator

    model = make_onnx(tmp_path / "m.onnx", side, channels=1, last=last)
    source = load_source(tmp_path / "m.onnx", size=(SIDE, SIDE))
    assert source.facts.color == "GRAY" and source.size == (SIDE, SIDE)
    x = np.random.default_rng(1).normal(size=(1, SIDE, SIDE, 1)).astype(np.float32)
    expected = ReferenceEvaluator(model).run(None, {"x": x if last else x.transpose(0, 3, 1, 2)})[0]
    np.testing.assert_allclose(source.outputs(x)[0], expected, rtol=1e-4, atol=1e-4)


def test_two_channels_are_no_picture(tmp_path: Path) -> None:
    make_onnx(tmp_path / "m.onnx", SIDE, channels=2)
    with pytest.raises(InputError, match=r"not an image batch \(3 channels or 1\): shape \(0, 2, 32, 32\)"):
        load_source(tmp_path / "m.onnx")


def test_a_dynamic_size_has_to_be_given(tmp_path: Path) -> None:
    make_onnx(tmp_path / "m.onnx", None)
    with pytest.raises(InputError, match="give --size"):
        load_source(tmp_path / "m.onnx")
    assert load_source(tmp_path / "m.onnx", size=(48, 40)).size == (48, 40)


def test_refusals(tmp_path: Path) -> None:
    make_onnx(tmp_path / "m.onnx", SIDE)
    whole = (tmp_path / "m.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not an ONNX model"):
        load_source(tmp_path / "cut.onnx")
    with pytest.raises(InputError, match="fixes the input at 32x32"):
        load_source(tmp_path / "m.onnx", size=(64, 64))
    make_onnx(tmp_path / "odd.onnx", SIDE, operator="Atanh")
    with pytest.raises(InputError, match="Atanh"):
        load_source(tmp_path / "odd.onnx")


@pytest.mark.full
def test_weights_in_a_file_beside_are_read(tmp_path: Path) -> None:
    model = make_onnx(tmp_path / "m.onnx", SIDE)
    onnx.save(model, tmp_path / "out.onnx", save_as_external_data=True, size_threshold=0, location="w.bin")
    x = np.random.default_rng(1).normal(size=(1, SIDE, SIDE, 3)).astype(np.float32)
    expected = load_source(tmp_path / "m.onnx").outputs(x)[0]
    np.testing.assert_array_equal(load_source(tmp_path / "out.onnx").outputs(x)[0], expected)
    with ModelProcess() as process:  # which may read that file and no other beside
        np.testing.assert_array_equal(process.load(tmp_path / "out.onnx").outputs(x)[0], expected)


def test_weights_that_take_a_file_again_and_again_are_refused(tmp_path: Path) -> None:
    model, size = make_onnx(tmp_path / "m.onnx", SIDE), 33 << 20
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(size)  # a hole: nothing is on the disk
    for number in range(3):
        tensor = onnx.TensorProto(name=f"w{number}", data_type=1, dims=[size // 4], data_location=1)
        for key, value in (("location", "w.bin"), ("offset", "0"), ("length", str(size))):
            tensor.external_data.add(key=key, value=value)
        model.graph.initializer.append(tensor)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="take the same bytes of the files beside it too often"):
        load_source(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "location", ["../w.bin", "sub/w.bin", "/etc/hostname", "..", "", "sub\\w.bin", "link.bin", "pipe", "no"]
)
def test_weights_elsewhere_are_refused(tmp_path: Path, location: str) -> None:
    inside = tmp_path / "in"
    (inside / "sub").mkdir(parents=True)
    model = make_onnx(tmp_path / "m.onnx", SIDE)
    onnx.save(model, inside / "out.onnx", save_as_external_data=True, size_threshold=0, location="w.bin")
    for place in (tmp_path / "w.bin", inside / "sub" / "w.bin"):
        place.write_bytes((inside / "w.bin").read_bytes())
    (inside / "link.bin").symlink_to(tmp_path / "w.bin")
    os.mkfifo(inside / "pipe")
    changed = onnx.load(inside / "out.onnx", load_external_data=False)
    for tensor in changed.graph.initializer:
        for entry in tensor.external_data:
            entry.value = location if entry.key == "location" else entry.value
    (inside / "out.onnx").write_bytes(changed.SerializeToString())
    with pytest.raises(InputError, match="own folder|cannot be read|no file of weights"):
        load_source(inside / "out.onnx")


def test_weights_beyond_the_end_of_their_file_are_refused(tmp_path: Path) -> None:
    model = make_onnx(tmp_path / "m.onnx", SIDE)
    onnx.save(model, tmp_path / "out.onnx", save_as_external_data=True, size_threshold=0, location="w.bin")
    (tmp_path / "w.bin").write_bytes((tmp_path / "w.bin").read_bytes()[:-8])
    with pytest.raises(InputError, match="lies outside"):
        load_source(tmp_path / "out.onnx")


@pytest.mark.full
def test_onnx2tf_in_an_environment_of_its_own(tmp_path: Path) -> None:
    """Needs the package index the first time; MeanVarianceNormalization is unknown to our importer."""
    from onnx.reference import ReferenceEvaluator

    from edgeguard.errors import DeviceError

    model = make_onnx(tmp_path / "odd.onnx", None, operator="MeanVarianceNormalization")
    x = np.random.default_rng(0).normal(size=(2, SIDE, SIDE, 3)).astype(np.float32)
    expected = np.concatenate(
        [ReferenceEvaluator(model).run(None, {"x": image[None].transpose(0, 3, 1, 2)})[0] for image in x]
    )
    try:
        source = load_source(tmp_path / "odd.onnx", size=(SIDE, SIDE), onnx2tf=True)
    except DeviceError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the environment cannot be built here: {error}")
    np.testing.assert_allclose(source.outputs(x)[0], expected, atol=1e-4 * np.abs(expected).max())
