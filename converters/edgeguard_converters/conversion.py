"""`convert`: a trained torch model becomes a defended int8 .tflite, or nothing at all."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

import edgeguard
from edgeguard.errors import CheckFailed, InputError
from edgeguard.files import sha256_file, write_bytes
from edgeguard.guard.profile import GuardProfile
from edgeguard.model.contract import ENTRY, Contract, ContractGuard, Crop, InputSpec, Place, Preprocess
from edgeguard_converters import flatbuffer_edit
from edgeguard_converters.baked_guard import check_bakeable, splice
from edgeguard_converters.checks import check_integer_file, run_in_fresh_process
from edgeguard_converters.edgetpu import predict
from edgeguard_converters.float_graph import export_float, torch_outputs
from edgeguard_converters.gates import FEW_IMAGES, GateReport, Thresholds, judge
from edgeguard_converters.images import LabelledImage, digest, prepare
from edgeguard_converters.latency import measure_latency
from edgeguard_converters.layers import layer_snr
from edgeguard_converters.loaders import Source, load_source
from edgeguard_converters.preprocessing import PRESETS, Normalisation, explicit, from_facts, guess
from edgeguard_converters.quantize import quantise_with
from edgeguard_converters.quiet import new_log
from edgeguard_converters.ranges import METHODS, Method
from edgeguard_converters.report import Findings, html_report, worst_images
from edgeguard_converters.runner import run_graph

_TOOLS = ("torch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert", "numpy", "opencv-python-headless")
_HELD_OUT_EVERY = 4
_TORCH_IMAGES = 64  # torch is ten times slower than the float graph, and a wrong graph shows on the first image


@dataclass(frozen=True)
class Options:
    """Everything `convert` can be told; None means: take it from the file, else the default.

    `guard` is a profile or None; `preprocess` is auto or a preset; sizes are (width, height).
    """

    guard: GuardProfile | None = None
    place: Place = "frame"
    preprocess: str = "auto"
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    size: tuple[int, int] | None = None
    crop: Crop | None = None
    crop_fraction: float | None = None
    labels: tuple[str, ...] | None = None
    background: bool | None = None
    arch: str | None = None
    trust_pickle: bool = False
    ranges: Method | Literal["auto"] = "auto"
    thresholds: Thresholds = field(default_factory=Thresholds)


@dataclass(frozen=True)
class Conversion:
    """What came of a conversion.

    Attributes:
        path: the file that was written.
        contract: what stands in it.
        report: the gates' measurements.
        normalisation: mean and std, and where they came from.
        operators: histogram of the finished graph.
        notes: things the user should know, one line each.
        bytes: size of the file.
    """

    path: Path
    contract: Contract
    report: GateReport
    normalisation: Normalisation
    operators: dict[str, int]
    notes: tuple[str, ...]
    bytes: int


@dataclass
class _Notes:
    say: Callable[[str], None]
    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        self.lines.append(line)
        self.say(line)


def convert(
    model: str | Path,
    output: str | Path,
    calibration: list[LabelledImage] | Callable[[], list[LabelledImage]],
    evaluation: list[LabelledImage] | None = None,
    options: Options = Options(),
    say: Callable[[str], None] = lambda line: None,
    step: Callable[[str], None] = lambda name: None,
    report_path: str | Path | None = None,
) -> Conversion:
    """Convert a trained classifier to an int8 .tflite with its contract inside.

    Args:
        model: a torch.export .pt2, TorchScript, or a state_dict (with `options.arch`).
        output: where the .tflite goes; it appears only when every gate and check has passed.
        calibration: images for the quantiser's ranges; without `evaluation` every fourth is held out for the gates.
            A function makes stand-in pictures, once the model has loaded; from those no preprocessing is guessed.
        evaluation: images for the gates, with class indices where they are known.
        options: see `Options`.
        say: called with one line for each thing that a user has to know.
        step: called with the name of each step as it begins, for a progress display.
        report_path: write the HTML report here, also when a gate refuses the model.

    Raises:
        InputError: something given cannot be used.
        CheckFailed: a gate or a check failed; no file was written.
    """
    model, output, notes = Path(model), Path(output), _Notes(say)
    _check_options(options)
    step("loading the model")
    if options.trust_pickle:
        notes.add("--trust-pickle: if the file is a pickle, the code in it runs now, with your rights")
    source = load_source(model, arch=options.arch, size=options.size, trust_pickle=options.trust_pickle)
    stand_in = callable(calibration)
    calibration = calibration() if callable(calibration) else calibration
    calibration, evaluation = _split(calibration, evaluation, notes)
    contract = _contract_before_normalisation(source, options)
    baked = contract.guard.profile if contract.guard.place == "in-graph" else None
    if baked is not None:
        check_bakeable(baked, contract.input.width, contract.input.height)
    step(f"sanitising {len(calibration) + len(evaluation)} images")
    host = replace(contract, guard=ContractGuard(baked, "input")) if baked is not None else contract
    calibration_pixels, evaluation_pixels = prepare(calibration, host), prepare(evaluation, host)
    step("settling preprocessing and labels")
    normalisation, contract, targets = _settle(
        source, options, contract, calibration_pixels, evaluation, evaluation_pixels, notes, stand_in
    )
    size = (contract.input.width, contract.input.height)
    folder, log = Path(tempfile.mkdtemp(prefix="edgeguard-")), new_log()
    try:
        step("converting to a float graph")
        graph = export_float(source, normalisation, size, folder, log)
        float_data = graph.path.read_bytes()
        _warn_vanished(source, float_data, notes)
        mended, dead = flatbuffer_edit.mend_dead_filters(float_data)
        if dead:
            notes.add(f"{dead} filters are all zero; each got one tiny weight so that int8 can hold its bias")
            graph.path.write_bytes(mended)
        step("calibrating and quantising")
        method, quantised = quantise_with(options.ranges, graph, calibration_pixels, log)
        finished = flatbuffer_edit.to_uint8_io(quantised, log)
        finished = finished if baked is None else splice(finished, baked)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    check_integer_file(finished)
    step(f"gates on {len(evaluation)} images")
    received_pixels = evaluation_pixels if baked is None else prepare(evaluation, contract)
    float_outputs = run_graph(float_data, evaluation_pixels, graph.feed)
    int8_outputs = run_graph(finished, received_pixels, lambda image: image)
    report = judge(
        torch_outputs(source, normalisation.apply(evaluation_pixels[:_TORCH_IMAGES])),
        float_outputs,
        int8_outputs,
        targets,
        options.thresholds,
    )
    if report_path is not None:
        step("writing the report")
        findings = Findings(
            layers=layer_snr(float_data, finished, evaluation_pixels, graph.feed, log),
            latencies=measure_latency(float_data, finished, evaluation_pixels[0], graph.feed),
            worst=worst_images(
                [image.name for image in evaluation], received_pixels, float_outputs, int8_outputs, contract.labels
            ),
            operators=flatbuffer_edit.operators(finished),
            edgetpu=predict(finished),
        )
        stated = _finished_contract(contract, model, calibration, report, method)
        page = html_report(model.name, stated, report, findings, len(finished))
        write_bytes(Path(report_path), page.encode())
    if report.failures:
        hint = "; these are stand-in pictures: give --calibrate with your own" if stand_in else ""
        raise CheckFailed("; ".join(report.failures) + f" (n = {report.n}{hint}); nothing was written")
    contract = _finished_contract(contract, model, calibration, report, method)
    data = flatbuffer_edit.add_contract(finished, ENTRY, contract.to_json(), contract.labels)
    step("checking the file in a fresh process")
    _check_reload(data, finished, evaluation_pixels)
    write_bytes(output, data)
    log.unlink(missing_ok=True)
    operators = flatbuffer_edit.operators(data)
    return Conversion(output, contract, report, normalisation, operators, tuple(notes.lines), len(data))


def _finished_contract(
    contract: Contract, model: Path, calibration: list[LabelledImage], report: GateReport, method: Method
) -> Contract:
    return replace(
        contract,
        source_sha256=sha256_file(model),
        calibration_sha256=digest(calibration),
        versions=_versions(),
        gates={**report.to_dict(), "ranges": method},
    )


def _check_options(options: Options) -> None:
    if options.preprocess not in ("auto", *PRESETS):
        raise InputError(f"--preprocess must be auto, {', '.join(PRESETS)}, got {options.preprocess!r}")
    if options.place not in ("frame", "input", "in-graph", "none"):
        raise InputError(f"--place must be frame or input, got {options.place!r}")
    if options.guard is not None and options.place == "input" and not options.guard.is_pixel_domain:
        raise InputError(f"--place input needs an rgb or gray profile; {options.guard.name} works on JPEG frames")
    if options.ranges not in ("auto", *METHODS):
        raise InputError(f"--range must be auto, {', '.join(METHODS)}, got {options.ranges!r}")
    if options.crop is not None and options.crop not in get_args(Crop):
        raise InputError(f"--crop must be center, letterbox or none, got {options.crop!r}")


def _split(
    calibration: list[LabelledImage], evaluation: list[LabelledImage] | None, notes: _Notes
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    if evaluation is None:
        if len(calibration) < _HELD_OUT_EVERY:
            raise InputError(
                f"{len(calibration)} calibration images are too few: at least {_HELD_OUT_EVERY} are needed"
            )
        evaluation = calibration[::_HELD_OUT_EVERY]
        calibration = [image for i, image in enumerate(calibration) if i % _HELD_OUT_EVERY]
    else:
        calibration, evaluation = _without_overlap(calibration, evaluation, notes)
    if len(evaluation) < FEW_IMAGES:
        notes.add(
            f"only {len(evaluation)} gate images: a 95 % interval around an agreement of 90 % is "
            f"{_width_at(0.9, len(evaluation)):.0%} wide; give more with --eval"
        )
    return calibration, evaluation


def _without_overlap(
    calibration: list[LabelledImage], evaluation: list[LabelledImage], notes: _Notes
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """No image both calibrates and judges: of those in both sets every fourth judges, the others calibrate."""
    calibrating = {image.sha256 for image in calibration}
    shared = [image.sha256 for image in evaluation if image.sha256 in calibrating]
    if not shared:
        return calibration, evaluation
    notes.add(f"{len(shared)} images are in both sets: every fourth of them judges, the others calibrate")
    judging, giving = set(shared[::_HELD_OUT_EVERY]), set(shared) - set(shared[::_HELD_OUT_EVERY])
    return (
        [image for image in calibration if image.sha256 not in judging],
        [image for image in evaluation if image.sha256 not in giving],
    )


def _width_at(p: float, n: int) -> float:
    from edgeguard_converters.statistics import wilson

    low, high = wilson(round(p * n), n)
    return high - low


def _contract_before_normalisation(source: Source, options: Options) -> Contract:
    size = options.size or source.size
    if size is None:
        raise InputError("the model holds no input size: give --size N or WxH")
    if source.size is not None and options.size not in (None, source.size) and source.kind == "torch.export":
        raise InputError(f"the export fixes the input at {source.size[0]}x{source.size[1]}; leave --size out")
    facts = source.facts
    crop: Crop = options.crop or (facts.crop if facts.crop in get_args(Crop) else None) or "center"  # type: ignore[assignment]
    fraction = options.crop_fraction or facts.crop_fraction or 0.875
    guarded = options.guard is not None and options.place != "none"
    return Contract(
        input=InputSpec(width=size[0], height=size[1]),
        preprocess=Preprocess(crop=crop, crop_fraction=fraction if crop == "center" else 1.0),
        guard=ContractGuard(options.guard, options.place) if guarded else ContractGuard(),
        trained_on_profile=facts.trained_on_profile,
    )


def _settle(
    source: Source,
    options: Options,
    contract: Contract,
    calibration_pixels: NDArray[np.uint8],
    evaluation: list[LabelledImage],
    evaluation_pixels: NDArray[np.uint8],
    notes: _Notes,
    stand_in: bool,
) -> tuple[Normalisation, Contract, NDArray[np.int64] | None]:
    """Normalisation, labels and the raw output index of each evaluation image."""
    probe = torch_outputs(source, Normalisation((127.5,) * 3, (127.5,) * 3, "probe").apply(calibration_pixels[:1]))
    classes = probe.shape[1]
    labels, background = _labels(source, options, classes, notes)
    targets = _targets(evaluation, classes, background, notes)
    if options.mean is not None or options.std is not None:
        normalisation = explicit(options.mean, options.std)
    elif options.preprocess != "auto":
        normalisation = Normalisation(*PRESETS[options.preprocess], "preset")
    elif (stated := from_facts(source.facts)) is not None:
        normalisation = stated
    elif stand_in:
        raise InputError(
            "the file does not say its preprocessing, and stand-in pictures cannot tell: "
            "give --preprocess imagenet|tf|unit|none, or --calibrate FOLDER with your own images"
        )
    else:
        pixels = calibration_pixels if targets is None else evaluation_pixels
        normalisation = guess(lambda x: torch_outputs(source, x), pixels, targets)
        notes.add(f"PREPROCESSING GUESSED: {normalisation.origin}; check it, or say --preprocess")
    contract = replace(
        contract,
        preprocess=replace(
            contract.preprocess, mean=normalisation.mean, std=normalisation.std, guessed=normalisation.guessed
        ),
        labels=labels,
        background=background,
        outputs="probabilities" if _are_probabilities(source, normalisation, evaluation_pixels) else "logits",
    )
    return normalisation, contract, targets


def _labels(source: Source, options: Options, classes: int, notes: _Notes) -> tuple[tuple[str, ...], bool]:
    labels = options.labels if options.labels is not None else source.facts.labels or ()
    if labels and len(labels) == classes - 1:
        labels = ("background", *labels)
    if labels and len(labels) != classes:
        raise InputError(f"{len(labels)} labels for {classes} outputs")
    background = options.background
    if background is None:
        background = labels[0].strip().lower() == "background" if labels else classes == 1001
        if background:
            notes.add(f"{classes} outputs: output 0 is taken as background, class index + 1 = output index")
    return tuple(labels), background


def _targets(
    evaluation: list[LabelledImage], classes: int, background: bool, notes: _Notes
) -> NDArray[np.int64] | None:
    known = [image.label for image in evaluation]
    if any(label is None for label in known):
        return None
    targets = np.array(known, dtype=np.int64) + int(background)
    if targets.max() >= classes:
        raise InputError(f"class index {int(targets.max())} of the evaluation images is beyond the {classes} outputs")
    if background:
        notes.add("evaluation adds 1 to each class index (background)")
    return targets


def _are_probabilities(source: Source, normalisation: Normalisation, pixels: NDArray[np.uint8]) -> bool:
    outputs = torch_outputs(source, normalisation.apply(pixels[:8]))
    return bool((outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-3))


def _warn_vanished(source: Source, float_data: bytes, notes: _Notes) -> None:
    expected = sum(p.numel() for p in source.module.parameters())
    kept = flatbuffer_edit.parameter_count(float_data)
    if expected and kept < 0.9 * expected:
        notes.add(f"only {kept:,} of {expected:,} parameters are left: branches with zero weights were folded away")


def _check_reload(data: bytes, finished: bytes, pixels: NDArray[np.uint8]) -> None:
    fresh = run_in_fresh_process(data, pixels[:1])
    from ai_edge_litert.interpreter import Interpreter

    here = Interpreter(model_content=finished, num_threads=1)
    here.allocate_tensors()
    here.set_tensor(here.get_input_details()[0]["index"], pixels[:1])
    here.invoke()
    if not np.array_equal(fresh, here.get_tensor(here.get_output_details()[0]["index"])):
        raise CheckFailed("the finished file answers differently in a fresh process; nothing was written")


def _versions() -> dict[str, str]:
    found = {"edgeguard": edgeguard.__version__}
    for name in _TOOLS:
        try:
            found[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            continue
    return found
