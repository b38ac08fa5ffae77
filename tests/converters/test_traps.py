"""Traps of the tools on this route, as they stand today, and our guard against each."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

if not os.environ.get("CI"):
    pytest.importorskip("torch", reason="the convert extra is not installed")

import torch
from ai_edge_litert.interpreter import Interpreter
from converters.in_process import convert
from converters.models import SIDE, Residual, pixels_of, save_program, tinted_squares, train_residual

from edgeguard.datasets.images import LabeledImage
from edgeguard.errors import CheckFailed
from edgeguard_converters.graph.normalization import PRESETS, Normalization
from edgeguard_converters.graph.tflite_graph import TfliteGraph
from edgeguard_converters.load.registry import load_source
from edgeguard_converters.options import Options
from edgeguard_converters.quantize.quantize import _recipe, calibrate, quantize_int8, raw_int8
from edgeguard_converters.verify.checks import check_file

pytestmark = [pytest.mark.convert, pytest.mark.full]


def test_offset_buffers_truncate_the_interface_change(squares: list[LabeledImage], tmp_path: Path) -> None:
    log = tmp_path / "log"
    source = load_source(save_program(Residual(width=128).eval(), tmp_path / "wide.pt2"))
    graph = source.export(Normalization(*PRESETS["tf"], "t"), (SIDE, SIDE), tmp_path, log)
    pixels = np.stack([pixels_of(image)[:SIDE, :SIDE] for image in squares[:4]])
    quantized = raw_int8(graph, calibrate(graph, pixels, log), log)
    assert quantized.has_offset_buffers(), "the quantiser now writes inline: the guard is idle"
    with pytest.raises(RuntimeError, match="truncated"):
        quantized.with_integer_borders(log)
    inlined = quantized.with_int8_versions()
    assert not inlined.has_offset_buffers()
    assert len(inlined.with_integer_borders(log).data) > 0.8 * len(inlined.data)


def test_a_file_with_float_inside_or_int8_borders_is_refused(converted: Path, trained: Path, tmp_path: Path) -> None:
    graph = load_source(trained).export(Normalization(*PRESETS["tf"], "t"), (SIDE, SIDE), tmp_path, tmp_path / "log")
    with pytest.raises(CheckFailed, match="still computes in float"):
        check_file(graph.tflite)
    with pytest.raises(CheckFailed, match="weights stayed float"):
        check_file(graph.tflite, "float32")
    check_file(TfliteGraph(converted.read_bytes()))


def test_int8_borders_are_noticed(trained: Path, squares: list[LabeledImage], tmp_path: Path) -> None:
    """The interface tool reports success whatever it did: the borders are looked at."""
    from ai_edge_litert import _pywrap_modify_model_interface as interface

    log = tmp_path / "log"
    graph = load_source(trained).export(Normalization(*PRESETS["tf"], "t"), (SIDE, SIDE), tmp_path, log)
    pixels = np.stack([pixels_of(image)[:SIDE, :SIDE] for image in squares[:4]])
    source, target = tmp_path / "q.tflite", tmp_path / "int8.tflite"
    source.write_bytes(quantize_int8(graph, calibrate(graph, pixels, log), log).data)
    assert interface.modify_model_interface(str(source), str(target), 9, 9) == 0  # kTfLiteInt8
    with pytest.raises(CheckFailed, match="takes and gives int8, not uint8"):
        check_file(TfliteGraph(target.read_bytes()))
    with pytest.raises(CheckFailed, match="not uint8"):
        check_file(TfliteGraph(target.read_bytes()).with_integer_borders(log))  # says 0, does nothing


def test_dead_filters_are_mended(squares: list[LabeledImage], options: Options, tmp_path: Path) -> None:
    model = train_residual()
    convolution, norm = model.down[0], model.down[1]
    assert isinstance(convolution, torch.nn.Conv2d) and isinstance(norm, torch.nn.BatchNorm2d)
    assert norm.running_mean is not None
    with torch.no_grad():
        convolution.weight[:6] = 0
        norm.running_mean[:6], norm.bias[:6] = 0, 0.7
    path = save_program(model, tmp_path / "dead.pt2")
    done = convert(path, tmp_path / "m.tflite", squares[:60], squares[60:], options)
    assert any("6 filters are all zero" in line for line in done.notes)
    assert done.report.agreement >= 0.95


def test_parameters_that_vanish_are_told(squares: list[LabeledImage], options: Options, tmp_path: Path) -> None:
    model = train_residual()
    norm = model.a[4]
    assert isinstance(norm, torch.nn.BatchNorm2d)
    with torch.no_grad():
        norm.weight.zero_(), norm.bias.zero_()
    done = convert(
        save_program(model, tmp_path / "zero.pt2"), tmp_path / "m.tflite", squares[:60], squares[60:], options
    )
    assert any("folded away" in line for line in done.notes) or any("all zero" in line for line in done.notes)


def test_the_tools_are_silent(
    trained: Path,
    squares: list[LabeledImage],
    options: Options,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    convert(trained, tmp_path / "m.tflite", squares[:60], squares[60:], options)
    captured = capfd.readouterr()
    assert captured.out == "" and "START" not in captured.err and "I0000" not in captured.err


def test_the_quantiser_walks_its_samples_twice(trained: Path, tmp_path: Path) -> None:
    """A generator is empty on the second walk and gives no ranges; a list does."""
    from ai_edge_quantizer import calibrator
    from ai_edge_quantizer.utils import qsv_utils

    graph = load_source(trained).export(Normalization(*PRESETS["tf"], "t"), (SIDE, SIDE), tmp_path, tmp_path / "log")
    signature, argument = graph.tflite.signature()
    pictures = tinted_squares(4, 3)[0][:, :SIDE, :SIDE]
    found = []
    for make in (list, iter):
        calibration = calibrator.Calibrator(str(graph.path), num_threads=1, qsv_update_func=qsv_utils.min_max_update)
        samples = make([{argument: graph.feed(picture[None])} for picture in pictures])
        calibration.calibrate({signature: samples}, _recipe())
        found.append(len(calibration.get_model_qsvs()))
    assert found[0] > 5 and found[1] == 0


def test_a_dynamic_batch_becomes_one(squares: list[LabeledImage], options: Options, tmp_path: Path) -> None:
    net, batch = train_residual(), torch.export.Dim("n", min=1, max=64)
    program = torch.export.export(net, (torch.zeros(2, 3, SIDE, SIDE),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "d.pt2")
    done = convert(tmp_path / "d.pt2", tmp_path / "d.tflite", squares[:60], squares[60:], options)
    detail = Interpreter(str(tmp_path / "d.tflite")).get_input_details()[0]
    assert tuple(detail["shape"]) == tuple(detail["shape_signature"]) == (1, SIDE, SIDE, 3)
    assert done.report.agreement > 0.95


def test_torchvision_beside_a_cpu_build_of_torch() -> None:
    """In a process of its own: what is declared stays declared."""
    code = (
        "from edgeguard_converters.load.torchvision_operators import make_torchvision_importable as make\n"
        "kept = make()\nimport torchvision, torch\nprint(torchvision.ops.nms is not None, make() is kept)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if "No module named 'torchvision'" in done.stderr and not os.environ.get("CI"):
        pytest.skip("the onnx extra is not installed")
    assert done.stdout.split() == ["True", "True"], done.stderr
