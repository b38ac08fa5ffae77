"""Mixed precision, weight-only, float16, and the types of input and output."""

from pathlib import Path

import numpy as np
import pytest

from edgeguard.errors import CheckFailed, InputError
from edgeguard.guard import GuardProfile
from edgeguard.model import load_model

pytestmark = pytest.mark.convert


def _options(fd: GuardProfile, **changes):
    from edgeguard_converters.pipeline import Options

    return Options(guard=fd, preprocess="tf", crop="none", **changes)


def _convert(model, target, squares, options):
    from converters.in_process import convert

    return convert(model, target, squares[:60], squares[60:], options)


@pytest.fixture(scope="module")
def not_int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from converters.models import SIDE, NotInt8, train_residual

    path = tmp_path_factory.mktemp("not") / "not.pt2"
    torch.export.save(torch.export.export(NotInt8(train_residual()).eval(), (torch.zeros(1, 3, SIDE, SIDE),)), path)
    return path


@pytest.mark.full
def test_auto_mixed_keeps_the_guilty_layers_float(
    not_int8: Path, squares: list, fd: GuardProfile, tmp_path: Path
) -> None:
    from edgeguard_converters.graph.tflite_graph import TfliteGraph

    with pytest.raises(CheckFailed, match="layers to blame: .*--auto-mixed; nothing was written"):
        _convert(not_int8, tmp_path / "m.tflite", squares, _options(fd))
    assert not (tmp_path / "m.tflite").exists()
    done = _convert(not_int8, tmp_path / "m.tflite", squares, _options(fd, auto_mixed=True))
    kept = done.contract.gates["float_layers"]
    everything = TfliteGraph((tmp_path / "m.tflite").read_bytes()).operator_outputs()
    assert 1 <= len(kept) <= 4 < len(everything)  # the offset and its removal, not the convolutions
    assert any("MIXED PRECISION" in note for note in done.notes)
    model = load_model(tmp_path / "m.tflite")
    right = sum(model(image.data).index == image.label for image in squares[60:])
    assert right >= 55 and done.report.int8_top1 is not None and done.report.int8_top1 > 0.9


@pytest.mark.parametrize(
    "pattern",
    ["#4", pytest.param("FULLY_CONNECTED", marks=pytest.mark.full), pytest.param("PAD", marks=pytest.mark.full)],
)
@pytest.mark.full
def test_layers_named_by_the_user_stay_float(
    trained: Path,
    squares: list,
    fd: GuardProfile,
    tmp_path: Path,
    pattern: str,
) -> None:
    from edgeguard_converters.graph.tflite_graph import TfliteGraph

    if pattern == "PAD":  # the first of them takes the 8-bit input
        with pytest.raises(InputError, match="takes the model's 8-bit input"):
            _convert(trained, tmp_path / "m.tflite", squares, _options(fd, keep_float=(pattern,)))
        return
    done = _convert(trained, tmp_path / "m.tflite", squares, _options(fd, keep_float=(pattern,)))
    assert len(done.contract.gates["float_layers"]) == 1
    assert len(TfliteGraph((tmp_path / "m.tflite").read_bytes()).float_operators()) == 1
    assert load_model(tmp_path / "m.tflite")(squares[60].data).index in range(4)


@pytest.mark.parametrize(
    ("pattern", "message"), [("no such layer", "matches no layer"), ("(", "no regular expression")]
)
@pytest.mark.full
def test_a_layer_that_is_not_there(
    trained: Path,
    squares: list,
    fd: GuardProfile,
    tmp_path: Path,
    pattern: str,
    message: str,
) -> None:
    with pytest.raises(InputError, match=message):
        _convert(trained, tmp_path / "m.tflite", squares, _options(fd, keep_float=(pattern,)))


@pytest.mark.parametrize(
    "io", ["int8", pytest.param("uint8", marks=pytest.mark.full), pytest.param("float32", marks=pytest.mark.full)]
)
@pytest.mark.full
def test_every_input_type_gives_the_same_answers(
    trained: Path,
    squares: list,
    fd: GuardProfile,
    tmp_path: Path,
    io: str,
) -> None:
    done = _convert(trained, tmp_path / "m.tflite", squares, _options(fd, io=io))
    model = load_model(tmp_path / "m.tflite")
    assert model.contract.input.dtype == io and done.report.agreement > 0.95
    right = sum(model(image.data).index == image.label for image in squares[60:])
    assert right >= 57


@pytest.mark.parametrize(
    ("precision", "most"),
    [
        ("weight-only", 0.45),
        pytest.param("float16", 0.65, marks=pytest.mark.full),
        pytest.param("float32", 1.05, marks=pytest.mark.full),
    ],
)
@pytest.mark.full
def test_float_graphs_with_small_weights(
    trained: Path,
    squares: list,
    fd: GuardProfile,
    tmp_path: Path,
    precision: str,
    most: float,
) -> None:
    from edgeguard_converters.graph.tflite_graph import TfliteGraph

    done = _convert(trained, tmp_path / "m.tflite", squares, _options(fd, precision=precision))
    whole = _convert(trained, tmp_path / "f.tflite", squares, _options(fd, precision="float32"))
    assert done.bytes <= most * whole.bytes
    assert done.contract.gates["precision"] == precision and done.contract.input.dtype == "float32"
    assert done.report.agreement == 1.0 and done.report.snr_db > (28 if precision == "weight-only" else 50)
    assert not TfliteGraph((tmp_path / "m.tflite").read_bytes()).has_offset_buffers()
    model = load_model(tmp_path / "m.tflite")
    assert sum(model(image.data).index == image.label for image in squares[60:]) >= 57


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "int4"}, "--precision must be"),
        ({"io": "int16"}, "--io must be"),
        ({"precision": "float16", "io": "uint8"}, "computes in float"),
        ({"precision": "weight-only", "auto_mixed": True}, "are for int8"),
        ({"place": "in-graph", "io": "int8"}, "works on uint8 pixels"),
        ({"auto_mixed": True, "keep_float": ("x",)}, "one of the two"),
        ({"epochs": 0}, "--epochs"),
    ],
)
def test_what_does_not_go_together(fd: GuardProfile, changes: dict, message: str) -> None:
    from edgeguard_converters.options import check_options

    with pytest.raises(InputError, match=message):
        check_options(_options(fd, **changes))


@pytest.mark.full
def test_unequal_means_become_one_depthwise_convolution(
    trained: Path,
    squares: list,
    fd: GuardProfile,
    tmp_path: Path,
) -> None:
    """Not SUB and MUL, which round twice; the input's scale stays 1."""
    from ai_edge_litert.interpreter import Interpreter

    from edgeguard_converters.pipeline import Options

    options = Options(guard=fd, mean=(120.0, 127.5, 131.0), std=(127.5, 126.0, 129.0), crop="none")
    done = _convert(trained, tmp_path / "m.tflite", squares, options)
    assert done.operators["DEPTHWISE_CONV_2D"] == 1 and "SUB" not in done.operators and "MUL" not in done.operators
    detail = Interpreter(str(tmp_path / "m.tflite")).get_input_details()[0]
    assert detail["quantization"] == (1.0, 0)
    assert done.report.agreement > 0.95


@pytest.mark.full
def test_a_patch_embedding_takes_unequal_means_exactly(tmp_path: Path) -> None:
    """A first convolution that pads nothing absorbs them: no operator is left of the normalisation."""
    import torch

    from edgeguard_converters.graph.normalization import PRESETS, Normalization
    from edgeguard_converters.graph.tflite_graph import TfliteGraph
    from edgeguard_converters.load.source import FileFacts
    from edgeguard_converters.load.torch_source import TorchSource

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 4, 4),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 3),
    ).eval()
    normalization = Normalization(*PRESETS["imagenet"], "t")
    source = TorchSource("module", (32, 32), FileFacts(), net)
    graph = source.export(normalization, (32, 32), tmp_path, tmp_path / "log")
    data = graph.path.read_bytes()
    assert "DEPTHWISE_CONV_2D" not in TfliteGraph(data).operators() and graph.normalized is None
    assert "TRANSPOSE" not in TfliteGraph(data).operators()
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    expected = source.outputs(normalization.apply(pixels))[0]
    np.testing.assert_allclose(graph.outputs(pixels)[0], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.full
def test_a_refusal_leaves_no_log_behind(
    not_int8: Path,
    squares: list,
    fd: GuardProfile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")  # no cache either
    with pytest.raises(CheckFailed):
        _convert(not_int8, tmp_path / "m.tflite", squares, _options(fd))
    assert list(scratch.iterdir()) == []
