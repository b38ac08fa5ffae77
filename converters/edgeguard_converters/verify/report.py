"""The report of a conversion: one self-contained HTML page, nothing loaded from anywhere."""

import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.boxes import Box
from edgeguard.model.contract import Contract
from edgeguard.model.detection import detect
from edgeguard.model.keypoints import find_keypoints
from edgeguard.model.prediction import label_of
from edgeguard.model.segmentation import segment
from edgeguard.preprocess.dct_input import picture
from edgeguard.preprocess.geometry import Placement
from edgeguard.reporting.charts import Bar, Svg, bars
from edgeguard.reporting.html import Entry, Figure, Table, data_uri, page
from edgeguard.statistics import lowest_snr_db
from edgeguard_converters.edgetpu.predict import EdgeTpuPrediction
from edgeguard_converters.graph.run import Outputs
from edgeguard_converters.verify.agreement import agreement, classes_of
from edgeguard_converters.verify.gates import GateReport
from edgeguard_converters.verify.guard_cost import GuardCost
from edgeguard_converters.verify.latency import Latency, verdict
from edgeguard_converters.verify.layers import Layer

_WORST = 6


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
    classes: str = ""
    cost: GuardCost | None = None


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
        if contract.input.color == "DCT" and profile is not None:
            return picture(levels, profile)
        return levels.repeat(3, axis=2) if contract.input.color == "GRAY" else levels

    def said(outputs: Outputs, index: int) -> str:
        return _said([values[index] for values in outputs], contract)

    return tuple(
        WorstImage(names[i], shown(pixels[i]), said(float_outputs, i), said(int8_outputs, i), float(snr[i]))
        for i in order
    )


def _said(outputs: list[NDArray[np.float32]], contract: Contract) -> str:
    if contract.task == "classify":
        return label_of(int(classes_of(outputs[0][None], contract)[0]), contract.labels)
    side = Box(0, 0, contract.input.width, contract.input.height)
    if contract.task == "segment":
        shares = segment(outputs[0], contract, Placement(side, side)).top
        return ", ".join(f"{share.label} {share.score:.0%}" for share in shares)
    if contract.task == "keypoints":
        seen = find_keypoints(outputs, contract, Placement(side, side))
        return f"pose {seen.score:.2f}"
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
        "classes": findings.classes or None,
        "guard_cost": None if findings.cost is None else asdict(findings.cost),
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
    reasons = [v for v in findings.edgetpu.verdicts if v.reason is not None]
    return page(
        "conversion.html",
        title=title,
        summary=_summary(contract, gates, findings, size_bytes),
        gates=_gates(gates, findings),
        layer_chart=_layer_chart(findings.layers) if findings.layers else None,
        lowest_layers=_lowest(findings.layers),
        worst=[_figure(image) for image in findings.worst],
        latencies=_latency(findings.latencies),
        operators=Table([(n, str(count)) for n, count in findings.operators.items()], ("operator", "count"), numbers=1),
        edgetpu=findings.edgetpu.summary(),
        blocked=Table(
            [(str(v.index), v.name, str(v.reason)) for v in reasons[:12]], ("operator", "kind", "why it does not map")
        ),
        contract=_contract(contract),
    )


def _summary(contract: Contract, gates: GateReport, findings: Findings, size_bytes: int) -> Table:
    profile = contract.guard.profile
    guard = f"{profile.name} ({profile.color}), place {contract.guard.place}" if profile else "none"
    return Table([
        ("gates", Entry("refused", look="bad") if gates.failures else Entry("passed", look="good")),
        ("guard", guard),
        ("size", f"{size_bytes / 1e6:.2f} MB"),
        ("speed", verdict(findings.latencies) if findings.latencies else "not measured"),
        ("Edge TPU", findings.edgetpu.summary()),
    ])  # fmt: skip


def _gates(gates: GateReport, findings: Findings) -> Table:
    rows: list[tuple[str | Entry, str]] = [
        ("trained model and float graph, largest difference", f"{gates.float_difference:.1e} of the largest output"),
        ("agreement of float and quantized",
         f"{gates.agreement:.3f} [{gates.agreement_low:.3f}, {gates.agreement_high:.3f}] (95 %, n = {gates.n})"),
        ("SNR over all outputs", f"{gates.snr_db:.1f} dB"),
    ]  # fmt: skip
    if gates.float_top1 is not None and gates.int8_top1 is not None:
        rows.append(("top-1", f"float {gates.float_top1:.4f}, int8 {gates.int8_top1:.4f}"))
    if findings.cost is not None:
        rows.append(("the guard", findings.cost.line))
    if findings.classes:
        rows.append(("labels", findings.classes))
    return Table(rows + [(Entry("failed", look="bad"), failure) for failure in gates.failures])


def _lowest(layers: tuple[Layer, ...]) -> Table:
    rows = [
        (str(layer.index), layer.operator, "x".join(map(str, layer.shape)), f"{layer.snr_db:.1f}")
        for layer in sorted(layers, key=lambda layer: layer.snr_db)[:10]
    ]
    return Table(rows, ("layer", "operator", "output", "SNR dB"), numbers=1)


def _layer_chart(layers: tuple[Layer, ...]) -> Svg:
    top = max(*(min(layer.snr_db, 60.0) for layer in layers), 30.0)
    found = [
        Bar(
            layer.snr_db,
            "lost" if layer.snr_db < 10 else "weak" if layer.snr_db < 20 else "held",
            f"{layer.index} {layer.operator}: {layer.snr_db:.1f} dB",
        )
        for layer in layers
    ]
    return bars(found, top, ("input", "output"), "SNR of each layer, dB")


def _figure(image: WorstImage) -> Figure:
    import cv2

    _, png = cv2.imencode(".png", image.pixels[:, :, ::-1])
    same = image.float_label == image.int8_label
    labels = Entry(image.float_label) if same else Entry(f"{image.float_label} → {image.int8_label}", look="bad")
    return Figure(data_uri(png.tobytes(), "image/png"), image.name, (image.name, labels, f"{image.snr_db:.1f} dB"))


def _latency(latencies: tuple[Latency, ...]) -> Table:
    rows = [
        (str(x.threads), f"{x.float_ms:.2f}", f"{x.int8_ms:.2f}", f"{x.float_ms / x.int8_ms:.2f}") for x in latencies
    ]
    return Table(rows, ("threads", "float ms", "int8 ms", "float / int8"), numbers=3)


def _contract(contract: Contract) -> Table:
    profile = contract.guard.profile
    return Table([
        ("input", f"{contract.input.width}x{contract.input.height} {contract.input.dtype}{_kind(contract)}"),
        (
            "crop",
            f"{contract.preprocess.crop} {contract.preprocess.crop_fraction:g}, resize {contract.preprocess.resize}",
        ),
        ("mean, std", f"{contract.preprocess.mean}, {contract.preprocess.std}"),
        ("profile", Entry(profile.sha256, look="code") if profile else "none"),
        ("source", Entry(str(contract.source_sha256), look="code")),
        ("calibration", Entry(str(contract.calibration_sha256), look="code")),
        *(
            [("training data, configuration", Entry(f"{contract.training_data_sha256}, "
                                                     f"{contract.training_config_sha256}", look="code"))]
            if contract.training_data_sha256 is not None else []
        ),
        ("tools", ", ".join(f"{name} {version}" for name, version in contract.versions.items())),
    ])  # fmt: skip
