"""Loading: the file as it is, then every way in which it can be broken, in child processes where it could crash."""

import hashlib
import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeguard.demo.assets import bundled_model
from edgeguard.errors import InputError
from edgeguard.guard import Sanitizer
from edgeguard.model import load_model
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.prediction import rank, softmax
from edgeguard.preprocess.crop_resize import crop_and_resize


def test_same_answer_as_the_interpreter_called_by_hand(scenes: list[NDArray[np.uint8]]) -> None:
    from ai_edge_litert.interpreter import Interpreter

    model = load_model(bundled_model())
    bare = Interpreter(model_path=str(bundled_model()))
    bare.allocate_tensors()
    source, target = bare.get_input_details()[0], bare.get_output_details()[0]
    assert model.contract.guard.profile is not None
    sanitizer = Sanitizer(model.contract.guard.profile)
    for scene in scenes:
        pixels = crop_and_resize(sanitizer(scene), model.contract.input, model.contract.preprocess)
        bare.set_tensor(source["index"], pixels[None])
        bare.invoke()
        raw = bare.get_tensor(target["index"])[0]
        assert model(scene).index == int(raw.argmax())
        scale, zero = target["quantization"]
        expected = np.exp((raw.astype(float) - zero) * scale)
        assert model(scene).score == pytest.approx(expected.max() / expected.sum(), abs=1e-4)


def test_facts_of_the_bundled_model() -> None:
    model = load_model(bundled_model(), threads=1)
    assert model.integer_only and model.has_contract and model.classes == len(model.contract.labels) == 13
    assert model.sha256 == hashlib.sha256(bundled_model().read_bytes()).hexdigest()


def test_required_hash(tmp_path: Path) -> None:
    good = hashlib.sha256(bundled_model().read_bytes()).hexdigest()
    assert load_model(bundled_model(), require_sha256=good.upper()).sha256 == good
    with pytest.raises(InputError, match="not the required model"):
        load_model(bundled_model(), require_sha256="0" * 64)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "TFL3"), (b"hello", "TFL3"), (b"\x1c\0\0\0TFL3", "truncated"), (b"\xff\xff\xff\xffTFL3", "truncated")],
)
def test_files_that_are_no_models(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        load_model(path)
    with pytest.raises(InputError, match="cannot read"):
        load_model(tmp_path / "missing.tflite")


def _load_truncated(path: Path, lengths: list[int]) -> None:
    data = bundled_model().read_bytes()
    for length in lengths:
        path.write_bytes(data[:length])
        try:
            load_model(path)
        except InputError:
            continue
        raise SystemExit(f"{length} of {len(data)} bytes were taken for a model")


def test_every_kind_of_truncation_is_refused_and_crashes_nothing(tmp_path: Path) -> None:
    data = bundled_model().read_bytes()
    body = data.index(b"PK\x03\x04")  # behind it stand only the labels, which the contract holds too
    lengths = sorted({*range(0, 200, 7), *np.linspace(200, body - 1, 120).astype(int).tolist()})
    process = multiprocessing.get_context("spawn").Process(
        target=_load_truncated, args=(tmp_path / "t.tflite", lengths)
    )
    process.start()
    process.join(120)
    assert process.exitcode == 0


@settings(max_examples=examples(200), deadline=None)
@given(st.data())
def test_the_walker_survives_damage(data: st.DataObject) -> None:
    """Our own reading of hostile bytes: an answer or InputError, nothing else."""
    base = bytearray(_BODY)
    for _ in range(data.draw(st.integers(1, 8))):
        base[data.draw(st.integers(8, len(base) - 1))] = data.draw(st.integers(0, 255))
    try:
        model = ModelFile(bytes(base))
        model.metadata("edgeguard.json"), model.is_edgetpu, model.ends_in_probabilities()
    except InputError:
        return


_BODY = bundled_model().read_bytes()[:4000]


def test_a_model_whose_input_is_no_image(tmp_path: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(bundled_model()))
    graph = model.subgraphs[0]
    graph.operators = []
    tensor = schema.TensorT()
    tensor.shape, tensor.type, tensor.buffer, tensor.name = np.array([1, 10], np.int32), 0, 0, b"x"
    graph.tensors.append(tensor)
    graph.inputs = graph.outputs = np.array([len(graph.tensors) - 1], np.int32)
    model.signatureDefs = []
    path = tmp_path / "vector.tflite"
    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    with pytest.raises(InputError, match="not an image"):
        load_model(path)


def test_edge_tpu_files_are_told_apart(shared: Path) -> None:
    from edgeguard.errors import DeviceError

    path = shared / "models/mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    assert ModelFile(path.read_bytes()).is_edgetpu
    with pytest.raises(DeviceError, match="Edge TPU"):
        load_model(path)


def test_models_of_other_makers(shared: Path) -> None:
    model = load_model(shared / "models/mobilenet_v1_0.25_128_quant.tflite")
    assert not model.has_contract and model.contract.guard.profile is None
    assert model.contract.outputs == "probabilities" and model.contract.background
    assert model.contract.labels[1].startswith("tench") and model.contract.input.width == 128


def test_softmax_and_rank() -> None:
    scores = softmax(np.array([1000.0, 1000.0, 0.0], np.float32))
    assert scores.tolist() == [0.5, 0.5, 0.0]
    top = rank(scores, ("a", "b"), 3).top
    assert [s.label for s in top] == ["a", "b", "2"] and top[0].index == 0


def test_loading_says_nothing_on_stderr() -> None:
    code = (
        "from edgeguard.model import load_model; from edgeguard.demo.assets import bundled_model as b; load_model(b())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "" == done.stdout
