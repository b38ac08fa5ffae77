"""The report of a conversion, its layers and its latencies."""

import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.convert


class _Balanced(HTMLParser):
    """Fails on an element that is closed in the wrong place."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "img", "br", "line", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "rect"):
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    import torch
    from converters.in_process import convert
    from converters.models import SIDE, tinted_squares, train_residual

    from edgeguard.datasets.images import LabeledImage
    from edgeguard.guard import GuardProfile
    from edgeguard_converters.pipeline import Options

    folder = tmp_path_factory.mktemp("report")
    net = train_residual()
    torch.export.save(torch.export.export(net, (torch.zeros(1, 3, SIDE, SIDE),)), str(folder / "m.pt2"))
    pictures, labels = tinted_squares(60, 5)
    images = [
        LabeledImage(f"<{i}>&", cv2.imencode(".png", p[:, :, ::-1])[1].tobytes(), int(label))
        for i, (p, label) in enumerate(zip(pictures, labels, strict=True))
    ]
    options = Options(guard=GuardProfile.preset("fd"), preprocess="tf", labels=("<a>", "b", "c", "d"))
    page = folder / "r.html"
    convert(folder / "m.pt2", folder / "m.tflite", images[::2], images[1::2], options, report_path=page)
    return page.read_text()


@pytest.mark.full
def test_it_is_whole_and_needs_nothing_from_outside(report: str) -> None:
    parser = _Balanced()
    parser.feed(report)
    assert parser.open == []
    assert not re.search(r'(src|href)="(?!data:)', report) and "<script" not in report and "@import" not in report
    for part in ("Gates", "Layers", "Images furthest from float", "Speed on this machine", "Operators", "Contract"):
        assert f"<h2>{part}</h2>" in report
    assert "&lt;" in report and "<a>" not in report  # names from outside are text
    assert report.count("<rect") >= 8 and report.count("<figure>") == 6


@pytest.mark.full
def test_a_refused_model_gets_its_report_and_no_file(tmp_path: Path) -> None:
    import torch
    from converters.in_process import convert
    from converters.models import SIDE, NotInt8, tinted_squares, train_residual

    from edgeguard.datasets.images import LabeledImage
    from edgeguard.errors import CheckFailed
    from edgeguard_converters.pipeline import Options

    net = NotInt8(train_residual())
    torch.export.save(torch.export.export(net, (torch.zeros(1, 3, SIDE, SIDE),)), str(tmp_path / "m.pt2"))
    pictures, labels = tinted_squares(40, 5)
    images = [
        LabeledImage(str(i), cv2.imencode(".png", p[:, :, ::-1])[1].tobytes(), int(label))
        for i, (p, label) in enumerate(zip(pictures, labels, strict=True))
    ]
    with pytest.raises(CheckFailed):
        convert(
            tmp_path / "m.pt2", tmp_path / "m.tflite", images[::2], images[1::2], Options(preprocess="tf"),
            report_path=tmp_path / "r.html",
        )  # fmt: skip
    page = (tmp_path / "r.html").read_text()
    assert "refused" in page and "failed" in page and not (tmp_path / "m.tflite").exists()


@pytest.mark.full
def test_layers_find_the_one_that_int8_does_not_hold(tmp_path: Path) -> None:
    """The sum with a large offset is where the noise comes in."""
    import torch
    from converters.models import SIDE, NotInt8, tinted_squares, train_residual

    from edgeguard_converters.graph.normalization import PRESETS, Normalization
    from edgeguard_converters.load.registry import load_source
    from edgeguard_converters.quantize.quantize import calibrate, quantize_int8
    from edgeguard_converters.verify.layers import layer_snr

    net, log = NotInt8(train_residual()), tmp_path / "log"
    torch.export.save(torch.export.export(net, (torch.zeros(1, 3, SIDE, SIDE),)), str(tmp_path / "m.pt2"))
    source = load_source(tmp_path / "m.pt2")
    graph = source.export(Normalization(*PRESETS["tf"], "t"), (SIDE, SIDE), tmp_path, log)
    pixels = tinted_squares(16, 3)[0][:, 8:40, 8:40]
    quantized = quantize_int8(graph, calibrate(graph, pixels, log), log).with_integer_borders(log)
    layers = layer_snr(graph, quantized, pixels, log=log)
    by_operator = {layer.operator: layer.snr_db for layer in layers}
    assert min(layer.snr_db for layer in layers if layer.operator == "CONV_2D") > 15
    assert by_operator["SUB"] < 10 if "SUB" in by_operator else layers[-1].snr_db < 10


def test_latency_and_verdict(tmp_path: Path) -> None:
    from edgeguard.demo.assets import bundled_model
    from edgeguard_converters.graph.tflite_graph import TfliteGraph
    from edgeguard_converters.verify.latency import Latency, measure_latency, verdict

    graph = TfliteGraph(bundled_model().read_bytes())
    image = np.zeros((128, 128, 3), np.uint8)
    found = measure_latency(graph, graph, image, feed=lambda pixels: pixels, most_threads=2)
    assert [x.threads for x in found] == [1, 2] and all(x.float_ms > 0 and x.int8_ms > 0 for x in found)
    assert verdict((Latency(1, 2.0, 1.0),)) == "int8 is 2.0x as fast as float (1 thread)"
    assert verdict((Latency(1, 1.0, 1.8),)).startswith("keep float: int8 is 1.8x slower")
