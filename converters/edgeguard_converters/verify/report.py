"""The report of a conversion: one self-contained HTML page, nothing loaded from anywhere."""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.boxes import Box
from edgeguard.model.contract import Contract
from edgeguard.model.detection import detect
from edgeguard.model.prediction import label_of
from edgeguard.preprocess.dct_input import picture
from edgeguard.preprocess.geometry import Placement
from edgeguard.statistics import lowest_snr_db
from edgeguard_converters.edgetpu.predict import EdgeTpuPrediction
from edgeguard_converters.graph.run import Outputs
from edgeguard_converters.verify.agreement import agreement
from edgeguard_converters.verify.gates import GateReport
from edgeguard_converters.verify.latency import Latency, verdict
from edgeguard_converters.verify.layers import Layer

_WORST = 6
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2330;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem;border-bottom:1px solid #ccd3dd}
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}th{font-weight:600;color:#5a6577}
.ok{color:#17703b}.bad{color:#b3261e}
figure{display:inline-block;margin:.4rem .8rem .4rem 0;width:10rem;vertical-align:top}
figure img{width:10rem;image-rendering:auto;display:block}
figcaption{font-size:.8rem;color:#5a6577;overflow-wrap:anywhere}
code{font-size:.85rem;overflow-wrap:anywhere}svg text{font:11px system-ui,sans-serif;fill:#5a6577}
"""


@dataclass(frozen=True, eq=False)
class WorstImage:
    """A gate image on which int8 is furthest from float."""

    name: str
    pixels: NDArray[np.uint8]
    float_label: str
    int8_label: str
    snr_db: float


@dataclass(frozen=True, eq=False)
class Findings:
    """What the report shows beside the contract and the gates."""

    layers: tuple[Layer, ...]
    latencies: tuple[Latency, ...]
    worst: tuple[WorstImage, ...]
    operators: dict[str, int]
    edgetpu: EdgeTpuPrediction


def worst_images(
    names: list[str],
    pixels: NDArray[np.uint8],
    float_outputs: Outputs,
    int8_outputs: Outputs,
    contract: Contract,
) -> tuple[WorstImage, ...]:
    """Images on which the two differ first, then those with the lowest SNR; at most six."""
    n = len(pixels)
    snr = np.array(
        [
            lowest_snr_db([values[i] for values in float_outputs], [values[i] for values in int8_outputs])
            for i in range(n)
        ]
    )
    order = np.lexsort((snr, ~agreement(float_outputs, int8_outputs, contract).differs))[:_WORST]

    def shown(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        profile = contract.guard.profile
        return picture(levels, profile) if contract.input.color == "DCT" and profile is not None else levels

    def said(outputs: Outputs, index: int) -> str:
        return _said([values[index] for values in outputs], contract)

    return tuple(
        WorstImage(names[i], shown(pixels[i]), said(float_outputs, i), said(int8_outputs, i), float(snr[i]))
        for i in order
    )


def _said(outputs: list[NDArray[np.float32]], contract: Contract) -> str:
    if contract.task == "classify":
        return label_of(int(outputs[0].argmax()), contract.labels)
    side = Box(0, 0, contract.input.width, contract.input.height)
    boxes = detect(outputs, contract, Placement(side, side)).boxes or ()
    return ", ".join(f"{box.label} {box.score:.2f}" for box in boxes) or "nothing"


def _kind(contract: Contract) -> str:
    return ", DCT coefficients" if contract.input.color == "DCT" else ""


def json_report(title: str, contract: Contract, gates: GateReport, findings: Findings, size_bytes: int) -> str:
    """The same report as data: pictures by name only."""
    tpu = findings.edgetpu
    data = {
        "schema": 1,
        "model": title,
        "passed": not gates.failures,
        "gates": gates.to_dict(),
        "size_bytes": size_bytes,
        "layers": [
            {**asdict(x), "snr_db": x.snr_db if np.isfinite(x.snr_db) else None} for x in findings.layers
        ],
        "latencies_ms": [asdict(latency) for latency in findings.latencies],
        "verdict": verdict(findings.latencies) if findings.latencies else None,
        "worst": [
            {"name": w.name, "float": w.float_label, "int8": w.int8_label,
             "snr_db": w.snr_db if np.isfinite(w.snr_db) else None}
            for w in findings.worst
        ],
        "operators": findings.operators,
        "edgetpu": {
            "summary": tpu.summary(),
            "mapped": tpu.mapped,
            "breaks": [asdict(v) for v in tpu.verdicts if v.reason is not None],
        },
        "contract": contract.to_dict(),
    }  # fmt: skip
    return json.dumps(data, indent=1) + "\n"


def html_report(title: str, contract: Contract, gates: GateReport, findings: Findings, size_bytes: int) -> str:
    """The page.

    Args:
        title: the model's name.
        contract: what stands in the file.
        gates: what was measured, failures included.
        findings: layers, latencies, worst images, operators, Edge TPU.
        size_bytes: of the file.
    """
    parts = [
        f"<h1>{escape(title)}</h1>",
        _summary(contract, gates, findings, size_bytes),
        "<h2>Gates</h2>", _gates(gates),
        "<h2>Layers</h2>", _layers(findings.layers),
        "<h2>Images furthest from float</h2>", _worst(findings.worst),
        "<h2>Speed on this machine</h2>", _latency(findings.latencies),
        "<h2>Operators</h2>", _operators(findings),
        "<h2>Contract</h2>", _contract(contract),
    ]  # fmt: skip
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _summary(contract: Contract, gates: GateReport, findings: Findings, size_bytes: int) -> str:
    profile = contract.guard.profile
    guard = f"{profile.name} ({profile.color}), place {contract.guard.place}" if profile else "none"
    state = '<span class="ok">passed</span>' if not gates.failures else '<span class="bad">refused</span>'
    rows = [
        ("gates", state),
        ("guard", escape(guard)),
        ("size", f"{size_bytes / 1e6:.2f} MB"),
        ("speed", escape(verdict(findings.latencies)) if findings.latencies else "not measured"),
        ("Edge TPU", escape(findings.edgetpu.summary())),
    ]
    return _table([], rows, numbers=0)


def _gates(gates: GateReport) -> str:
    rows = [
        ("trained model and float graph, largest difference", f"{gates.float_difference:.1e} of the largest output"),
        ("agreement of float and quantised",
         f"{gates.agreement:.3f} [{gates.agreement_low:.3f}, {gates.agreement_high:.3f}] (95 %, n = {gates.n})"),
        ("SNR over all outputs", f"{gates.snr_db:.1f} dB"),
    ]  # fmt: skip
    if gates.float_top1 is not None and gates.int8_top1 is not None:
        rows.append(("top-1", f"float {gates.float_top1:.4f}, int8 {gates.int8_top1:.4f}"))
    rows += [('<span class="bad">failed</span>', escape(failure)) for failure in gates.failures]
    return _table([], rows, numbers=0)


def _layers(layers: tuple[Layer, ...]) -> str:
    if not layers:
        return "<p>No layer could be matched between the two graphs.</p>"
    worst = sorted(layers, key=lambda layer: layer.snr_db)[:10]
    rows = [
        (str(layer.index), layer.operator, "x".join(map(str, layer.shape)), f"{layer.snr_db:.1f}") for layer in worst
    ]
    return (
        "<p>Signal-to-noise ratio of every layer's int8 output against float, in dB. Noise adds up along the graph; a "
        "sudden drop marks the layer that int8 does not hold.</p>"
        + _chart(layers)
        + "<p>The ten lowest:</p>"
        + _table(["layer", "operator", "output", "SNR dB"], rows, numbers=1)
    )


def _chart(layers: tuple[Layer, ...]) -> str:
    width, height, left, bottom = 900, 220, 34, 18
    top = max(*(min(layer.snr_db, 60.0) for layer in layers), 30.0)
    step = (width - left) / len(layers)
    bars = []
    for i, layer in enumerate(layers):
        tall = max(min(layer.snr_db, top), 0.0) / top * (height - bottom)
        color = "#b3261e" if layer.snr_db < 10 else "#c98a1b" if layer.snr_db < 20 else "#3a6ea5"
        tip = escape(f"{layer.index} {layer.operator}: {layer.snr_db:.1f} dB")
        bars.append(
            f'<rect x="{left + i * step:.1f}" y="{height - bottom - tall:.1f}" width="{max(step - 1.5, 1):.1f}" '
            f'height="{tall:.1f}" fill="{color}"><title>{tip}</title></rect>'
        )
    lines = []
    for value in range(0, int(top) + 1, 10):
        y = height - bottom - value / top * (height - bottom)
        lines.append(f'<line x1="{left}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dfe4ea"/>')
        lines.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value}</text>')
    axis = (
        f'<text x="{left}" y="{height - 4}">input</text>'
        f'<text x="{width}" y="{height - 4}" text-anchor="end">output</text>'
    )
    return f'<svg viewBox="0 -8 {width} {height + 8}" width="100%" role="img">{"".join(lines + bars)}{axis}</svg>'


def _worst(images: tuple[WorstImage, ...]) -> str:
    import cv2

    figures = []
    for image in images:
        _, png = cv2.imencode(".png", image.pixels[:, :, ::-1])
        data = base64.b64encode(png.tobytes()).decode()
        same = image.float_label == image.int8_label
        labels = (
            escape(image.float_label)
            if same
            else (f'{escape(image.float_label)} &rarr; <span class="bad">{escape(image.int8_label)}</span>')
        )
        figures.append(
            f'<figure><img src="data:image/png;base64,{data}" alt="{escape(image.name)}">'
            f"<figcaption>{escape(image.name)}<br>{labels}<br>{image.snr_db:.1f} dB</figcaption></figure>"
        )
    return "".join(figures) or "<p>None.</p>"


def _latency(latencies: tuple[Latency, ...]) -> str:
    rows = [
        (str(x.threads), f"{x.float_ms:.2f}", f"{x.int8_ms:.2f}", f"{x.float_ms / x.int8_ms:.2f}") for x in latencies
    ]
    return _table(["threads", "float ms", "int8 ms", "float / int8"], rows, numbers=0)


def _operators(findings: Findings) -> str:
    rows = [(name, str(count)) for name, count in findings.operators.items()]
    reasons = [v for v in findings.edgetpu.verdicts if v.reason is not None]
    text = f"<p>Edge TPU, {escape(findings.edgetpu.summary())}.</p>"
    if reasons:
        blocked = [(str(v.index), v.name, escape(str(v.reason))) for v in reasons[:12]]
        text += _table(["operator", "kind", "why it does not map"], blocked, numbers=0)
    return _table(["operator", "count"], rows, numbers=1) + text


def _contract(contract: Contract) -> str:
    profile = contract.guard.profile
    rows = [
        ("input", f"{contract.input.width}x{contract.input.height} {contract.input.dtype}{_kind(contract)}"),
        (
            "crop",
            f"{contract.preprocess.crop} {contract.preprocess.crop_fraction:g}, resize {contract.preprocess.resize}",
        ),
        ("mean, std", f"{contract.preprocess.mean}, {contract.preprocess.std}"),
        ("profile", f"<code>{profile.sha256}</code>" if profile else "none"),
        ("source", f"<code>{contract.source_sha256}</code>"),
        ("calibration", f"<code>{contract.calibration_sha256}</code>"),
        ("tools", escape(", ".join(f"{name} {version}" for name, version in contract.versions.items()))),
    ]
    return _table([], rows, numbers=0)


def _table(head: list[str], rows: Sequence[tuple[str, ...]], numbers: int) -> str:
    """A table; the last `numbers` columns are right-aligned. Cells are HTML already."""

    def cells(row: Sequence[str], tag: str) -> str:
        edge = len(row) - numbers
        return "".join(f"<{tag}{' class=n' if i >= edge else ''}>{cell}</{tag}>" for i, cell in enumerate(row))

    header = f"<tr>{cells(head, 'th')}</tr>" if head else ""
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table>{header}{body}</table>"
