"""The wrapper around the interpreter: the same values as the interpreter itself gives."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.demo.assets import bundled_model
from edgeguard.errors import DeviceError, InputError
from edgeguard.model import runtime
from edgeguard.model.runtime import GraphRunner, dequantize, load_runner

pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")


@pytest.fixture(scope="module")
def data() -> bytes:
    return bundled_model().read_bytes()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (1, 128, 128, 3), dtype=np.uint8)


def test_the_same_values_as_the_interpreter(data: bytes, image: np.ndarray) -> None:
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(model_content=data, num_threads=1)
    model.allocate_tensors()
    model.set_tensor(model.get_input_details()[0]["index"], image)
    model.invoke()
    detail = model.get_output_details()[0]
    expected = model.get_tensor(detail["index"])
    runner = GraphRunner(data)
    (raw,) = runner.run_raw(image)
    assert raw.dtype == np.uint8 and np.array_equal(raw, expected[0])
    (values,) = runner.run(image)
    scale, zero_point = detail["quantization"]
    assert values.dtype == np.float32 and np.array_equal(
        values, (raw.astype(np.float32) - zero_point) * np.float32(scale)
    )


def test_outputs_are_copies(data: bytes, image: np.ndarray) -> None:
    runner = GraphRunner(data)
    first = runner.run_raw(image)[0]
    kept = first.copy()
    runner.run_raw(255 - image)
    assert np.array_equal(first, kept)


def test_bytes_and_path_are_one_model(data: bytes, image: np.ndarray) -> None:
    of_bytes, of_path = GraphRunner(data), GraphRunner(bundled_model(), threads=2)
    assert np.array_equal(of_bytes.run(image)[0], of_path.run(image)[0])
    assert [d["name"] for d in of_bytes.inputs] == [d["name"] for d in of_path.inputs]


def test_tensors_between_operators(data: bytes, image: np.ndarray) -> None:
    runner = GraphRunner(data, every_tensor=True)
    runner.run(image)
    assert not runner.delegated and GraphRunner(data).delegated
    output = runner.outputs[0]
    first = next(operator["outputs"][0] for operator in runner.interpreter._get_ops_details())
    names = {d["name"] for d in runner.interpreter.get_tensor_details() if d["index"] in (first, output["index"])}
    found = runner.tensors(names)
    assert set(found) == names and len(names) == 2
    values = {detail["index"]: runner.get_if_kept(detail) for detail in found.values()}
    last = values[output["index"]]
    assert last is not None and np.array_equal(last, runner.get(output))
    between = values[first]
    assert between is not None and between.shape == (1, 128, 128, 3) and between.dtype == np.int8


def test_a_tensor_of_another_shape_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        GraphRunner(data).set(np.zeros((1, 64, 64, 3), np.uint8))


@pytest.mark.parametrize("damaged", [b"", b"hello", bytes(100)])
def test_what_is_no_graph(damaged: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError):
        GraphRunner(damaged)
    capfd.readouterr()
    with pytest.raises(InputError, match="^the runtime refuses the model: ") as caught:
        load_runner(damaged)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_without_a_runtime(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(DeviceError, match="pip install ai-edge-litert"):
        GraphRunner(data)


def test_the_installed_runtime_is_named() -> None:
    name, version, interpreter, _ = runtime.runtime()
    assert name == "ai-edge-litert" and version[0].isdigit() and interpreter.__name__ == "Interpreter"


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32])
def test_dequantized_by_hand(dtype: type) -> None:
    values: NDArray[np.generic] = np.array([[0, 1, 100]], dtype)
    assert dequantize(values, {"quantization": (0.25, 4)}).tolist() == [[-1.0, -0.75, 24.0]]
    assert dequantize(values, {"quantization": (0.0, 0)}).tolist() == [[0.0, 1.0, 100.0]]


def test_floats_stay_as_they_are() -> None:
    values = np.array([0.1, -3.0], np.float32)
    assert np.array_equal(dequantize(values, {"quantization": (0.5, 3)}), values)


def test_the_file_serves_a_python_without_edgeguard() -> None:
    """Only numpy and a runtime are there; `convert --runtime` hands the file to such a Python."""
    code = (
        "import runpy, sys\n"
        "class Gone:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'edgeguard': raise ImportError(name)\n"
        "sys.meta_path.insert(0, Gone())\n"
        "runner = runpy.run_path(sys.argv[1])['GraphRunner'](sys.argv[2])\n"
        "print(runner.inputs[0]['shape'].tolist(), 'edgeguard' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(runtime.__file__), str(bundled_model())]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.strip() == "[1, 128, 128, 3] False", done.stderr
