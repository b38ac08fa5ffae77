"""`convert`: a trained model becomes a defended .tflite, or nothing at all."""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import edgeguard
from edgeguard.datasets.images import LabelledImage, digest, prepare
from edgeguard.errors import CheckFailed, InputError
from edgeguard.model.contract import ENTRY, Contract
from edgeguard.system.files import check_writable, sha256_file, write_bytes
from edgeguard_converters.candidates import Candidate, Job, candidates
from edgeguard_converters.contract.image_sets import odd_images, split
from edgeguard_converters.contract.infer import Settled, first_contract, settle
from edgeguard_converters.edgetpu.predict import predict
from edgeguard_converters.graph import edit
from edgeguard_converters.graph.baked_guard import check_bakeable, splice
from edgeguard_converters.graph.run import Outputs, run_graph
from edgeguard_converters.load.source import Source
from edgeguard_converters.options import Conversion, Options, check_options
from edgeguard_converters.support.log import chatter_to, log_file
from edgeguard_converters.support.memory import give_back_memory
from edgeguard_converters.verify.checks import check_file, check_reload
from edgeguard_converters.verify.gates import GateReport, judge
from edgeguard_converters.verify.latency import measure_latency
from edgeguard_converters.verify.layers import blame, layer_snr
from edgeguard_converters.verify.report import Findings, html_report, json_report, worst_images

__all__ = ["Conversion", "Options", "convert"]

_TOOLS = ("torch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert", "numpy", "opencv-python-headless")
_TOOLS_OF = {"ONNX": ("onnx", "onnx2torch"), "Keras": ("tensorflow",), "SavedModel": ("tensorflow",)}
_TORCH_IMAGES = 64  # torch is ten times slower than the float graph, and a wrong graph shows on the first image
_RELOADED = 8  # images that the finished file has to answer on disk as in memory
_DEFAULTS = Options()


@dataclass
class _Notes:
    say: Callable[[str], None]
    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        self.lines.append(line)
        self.say(line)


@dataclass(frozen=True, eq=False)
class _Pixels:
    """What the model sees, behind a baked guard; `received` is the gates' images as the device feeds them."""

    calibration: NDArray[np.uint8]
    evaluation: NDArray[np.uint8]
    received: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class _Attempt:
    """A finished graph and what the gates say of it."""

    candidate: Candidate
    finished: bytes
    report: GateReport
    float_data: bytes
    float_outputs: Outputs
    outputs: Outputs
    job: Job


def convert(
    model: str | Path | Source,
    output: str | Path,
    calibration: list[LabelledImage] | Callable[[], list[LabelledImage]],
    evaluation: list[LabelledImage] | None = None,
    options: Options = _DEFAULTS,
    say: Callable[[str], None] = lambda line: None,
    step: Callable[[str], None] = lambda name: None,
    report_path: str | Path | None = None,
    training: list[LabelledImage] | None = None,
    load: Callable[..., Source] | None = None,
) -> Conversion:
    """Convert a trained classifier or detector to a .tflite with its contract inside.

    Args:
        model: a file that `loaders.load_source` takes, or a source that is loaded already.
        output: where the .tflite goes; it appears only when every gate and check has passed.
        calibration: images for the quantiser's ranges; without `evaluation` every fourth is held out for the gates.
            A function makes stand-in pictures, once the model has loaded; from those no preprocessing is guessed.
        evaluation: images for the gates, with class indices where they are known.
        options: see `Options`.
        say: called with one line for each thing that a user has to know.
        step: called with the name of each step as it begins, for a progress display.
        report_path: write the report here (.html, or .json for machines), also when a gate refuses the model.
        training: labelled images to fine-tune with, for `options.epochs`, if the gates refuse the model as it is.
        load: instead of `loaders.load_source`, with its arguments; `apart.ModelProcess.load` takes less memory.

    Raises:
        InputError: something given cannot be used.
        CheckFailed: a gate or a check failed; no file was written.
    """
    output, notes = Path(output), _Notes(say)
    check_options(options)
    for path in (output, report_path):
        if path is not None:
            check_writable(Path(path))
    step("loading the model")
    source = _load(model, options, notes, load)
    stand_in = callable(calibration)
    calibration = calibration() if callable(calibration) else calibration
    calibration, evaluation = split(calibration, evaluation, notes.add)
    contract = first_contract(source, options, notes.add)
    if contract.guard.place == "in-graph" and contract.guard.profile is not None:
        check_bakeable(contract.guard.profile, contract.input.width, contract.input.height)
    step(f"sanitising {len(calibration) + len(evaluation)} images")
    pixels = _prepare(calibration, evaluation, contract, notes)
    step("settling preprocessing and labels")
    settled = settle(source, options, contract, pixels.calibration, evaluation, pixels.evaluation, notes.add, stand_in)
    progress: Path | None = None
    with log_file() as log:
        folder = Path(tempfile.mkdtemp(prefix=f"edgeguard-{os.getpid()}-"))
        try:
            attempt = _attempt(source, settled, options, pixels, folder, log, notes, step)
            if attempt.report.failures and training:
                notes.add(
                    f"not good enough yet ({'; '.join(attempt.report.failures)}): fine-tuning on {len(training)} images"
                )
                given = attempt.float_outputs
                source, progress = _finetuned(source, settled, options, training, step)
                attempt = _attempt(source, settled, options, pixels, folder, log, notes, step, given)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        report, finished = attempt.report, attempt.finished
        if kept := attempt.candidate.float_layers:
            notes.add(f"MIXED PRECISION: {len(kept)} of {attempt.candidate.operators} operators stay float")
        name, source_hash = _identity(model, source)
        contract = replace(
            settled.contract,
            source_sha256=source_hash,
            calibration_sha256=digest(calibration),
            versions=_versions(source.kind),
            gates={**report.to_dict(), **attempt.candidate.how()},
        )
        if report_path is not None:
            step("writing the report")
            findings = _findings(attempt, pixels, [image.name for image in evaluation], contract)
            write = json_report if Path(report_path).suffix.lower() == ".json" else html_report
            write_bytes(Path(report_path), write(name, contract, report, findings, len(finished)).encode())
        if report.failures:
            raise CheckFailed(_refusal(attempt, pixels, stand_in))
        data = edit.add_contract(finished, ENTRY, contract.to_json(), contract.labels)
        step("checking the file in a fresh process")
        for line in check_reload(data, finished, attempt.job.feed(pixels.received[:_RELOADED]), options.runtimes):
            notes.add(line)
        write_bytes(output, data)
        if progress is not None:
            progress.unlink(missing_ok=True)
        operators = edit.operators(data)
        return Conversion(output, contract, report, settled.normalisation, operators, tuple(notes.lines), len(data))


def _prepare(
    calibration: list[LabelledImage], evaluation: list[LabelledImage], contract: Contract, notes: _Notes
) -> _Pixels:
    fed = replace(contract, input=replace(contract.input, dtype="uint8"))
    outside = _behind_the_guard(contract)
    calibrating, judging = prepare(calibration, outside), prepare(evaluation, outside)
    for line in odd_images(calibration, calibrating, outside):
        notes.add(line)
    return _Pixels(calibrating, judging, judging if outside == fed else prepare(evaluation, fed))


def _behind_the_guard(contract: Contract) -> Contract:
    """The contract whose pixels the trained network sees: a guard inside the graph has done its work on them."""
    seen = replace(contract, input=replace(contract.input, dtype="uint8"))
    if seen.guard.place != "in-graph":
        return seen
    return replace(seen, guard=replace(seen.guard, place="input"))


def _attempt(
    source: Source,
    settled: Settled,
    options: Options,
    pixels: _Pixels,
    folder: Path,
    log: Path,
    notes: _Notes,
    step: Callable[[str], None],
    reference: Outputs | None = None,
) -> _Attempt:
    """Float graph, calibration, quantisation, gates: the first candidate that passes, else the last.

    `reference`: what the float graph of the model as it was given said, after fine-tuning.
    """
    contract = settled.contract
    trained = source.outputs(settled.normalisation.apply(pixels.evaluation[:_TORCH_IMAGES]))
    step("converting to a float graph")
    give_back_memory()
    graph = source.export(settled.normalisation, (contract.input.width, contract.input.height), folder, log)
    give_back_memory()
    float_data = graph.path.read_bytes()
    _warn_vanished(source, float_data, notes)
    source.release()
    mended, dead = edit.mend_dead_filters(float_data)
    if dead:
        notes.add(f"{dead} filters are all zero; each got one tiny weight so that int8 can hold its bias")
        graph.path.write_bytes(mended)
    job = Job(options, contract, graph, pixels.calibration, log)
    with chatter_to(log):  # the runtime introduces itself once
        float_outputs = run_graph(float_data, pixels.evaluation, graph.feed)
    step("calibrating and quantising")
    for candidate in candidates(job, notes.add):
        baked = contract.guard.profile if contract.guard.place == "in-graph" else None
        finished = candidate.data if baked is None else splice(candidate.data, baked)
        check_file(finished, options.input_type, candidate.float_allowed, None if baked else len(float_data))
        step(f"gates on {len(pixels.evaluation)} images")
        outputs = run_graph(finished, pixels.received, job.feed)
        report = judge(trained, float_outputs, outputs, contract, settled.targets, options.thresholds, reference)
        if not report.failures:
            break
    return _Attempt(candidate, finished, report, float_data, float_outputs, outputs, job)


def _finetuned(
    source: Source, settled: Settled, options: Options, training: list[LabelledImage], step: Callable[[str], None]
) -> tuple[Source, Path]:
    from edgeguard_converters.load.torch_source import TorchSource
    from edgeguard_converters.quantize.finetune import finetune

    source = source.here()
    pixels_only = settled.contract.input.color == "RGB"
    if not isinstance(source, TorchSource) or settled.contract.task != "classify" or not pixels_only:
        raise InputError("--finetune trains torch classifiers of pixels: for other models fine-tune before converting")
    labels = [image.label for image in training]
    if any(label is None for label in labels):
        raise InputError("--finetune needs labelled images: class folders, or labels.csv")
    contract = settled.contract
    pixels = prepare(training, _behind_the_guard(contract))
    targets = np.array(labels, np.int64) + int(contract.background)
    size = contract.input.width, contract.input.height
    return finetune(source, settled.normalisation, pixels, targets, options.epochs, size, step)


def _findings(attempt: _Attempt, pixels: _Pixels, names: list[str], contract: Contract) -> Findings:
    job, finished = attempt.job, attempt.finished
    feed = job.graph.feed
    return Findings(
        layers=layer_snr(attempt.float_data, finished, pixels.evaluation, feed, job.log, job.feed),
        latencies=measure_latency(attempt.float_data, finished, pixels.evaluation[0], feed, job.feed),
        worst=worst_images(names, pixels.received, attempt.float_outputs, attempt.outputs, contract),
        operators=edit.operators(finished),
        edgetpu=predict(finished),
    )


def _refusal(attempt: _Attempt, pixels: _Pixels, stand_in: bool) -> str:
    """Why nothing was written, with the layers to blame."""
    report, job, blamed = attempt.report, attempt.job, ""
    options = job.options
    if options.precision == "int8" and not options.auto_mixed and not report.failures[0].startswith("float gate"):
        layers = layer_snr(attempt.float_data, attempt.finished, pixels.evaluation, job.graph.feed, job.log, job.feed)
        blamed = f"; layers to blame: {', '.join(blame(layers))}; try --auto-mixed"
    hint = "; these are stand-in pictures: give --calibrate with your own" if stand_in else ""
    return f"{'; '.join(report.failures)} (n = {report.n}{hint}){blamed}; nothing was written"


def _load(model: str | Path | Source, options: Options, notes: _Notes, load: Callable[..., Source] | None) -> Source:
    if isinstance(model, Source):
        source = model
    else:
        if load is None:
            from edgeguard_converters.load.registry import load_source

            load = load_source
        if options.trust_pickle:
            notes.add("--trust-pickle: if the file is a pickle, the code in it runs now, with your rights")
        source = load(
            Path(model),
            arch=options.arch,
            size=options.size,
            trust_pickle=options.trust_pickle,
            onnx2tf=options.onnx2tf,
        )
    if bad := source.not_finite():
        raise InputError(f"the model's weights hold NaN or infinity (first in {bad}): its training diverged")
    return source


def _identity(model: str | Path | Source, source: Source) -> tuple[str, str | None]:
    """A name for the report's title, and the hash of the file."""
    if isinstance(model, Source):
        return source.kind, None
    return Path(model).name, sha256_file(Path(model)) if Path(model).is_file() else None


def _warn_vanished(source: Source, float_data: bytes, notes: _Notes) -> None:
    expected, kept = source.parameter_count(), edit.parameter_count(float_data)
    if expected and kept < 0.9 * expected:
        notes.add(f"only {kept:,} of {expected:,} parameters are left: branches with zero weights were folded away")


def _versions(kind: str) -> dict[str, str]:
    found = {"edgeguard": edgeguard.__version__}
    for name in (*_TOOLS, *_TOOLS_OF.get(kind, ())):
        try:
            found[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            continue
    return found
