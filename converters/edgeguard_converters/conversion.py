"""`convert`: a trained model becomes a defended .tflite, or nothing at all."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import edgeguard
from edgeguard.errors import CheckFailed, InputError
from edgeguard.files import check_writable, sha256_file, write_bytes
from edgeguard.model.contract import ENTRY, ContractGuard
from edgeguard_converters import flatbuffer_edit
from edgeguard_converters.baked_guard import check_bakeable, splice
from edgeguard_converters.candidates import Job, candidates
from edgeguard_converters.checks import check_file, run_in_fresh_process
from edgeguard_converters.edgetpu import predict
from edgeguard_converters.gates import judge
from edgeguard_converters.image_sets import odd_images, split
from edgeguard_converters.images import LabelledImage, digest, prepare
from edgeguard_converters.latency import measure_latency
from edgeguard_converters.layers import blame, layer_snr
from edgeguard_converters.loaders import load_source
from edgeguard_converters.options import Conversion, Options, check_options
from edgeguard_converters.quiet import chatter_to, new_log
from edgeguard_converters.report import Findings, html_report, json_report, worst_images
from edgeguard_converters.runner import run_graph
from edgeguard_converters.settle import first_contract, settle
from edgeguard_converters.source import Source

__all__ = ["Conversion", "Options", "convert"]

_TOOLS = ("torch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert", "numpy", "opencv-python-headless")
_TOOLS_OF = {"ONNX": ("onnx", "onnx2torch"), "Keras": ("tensorflow",), "SavedModel": ("tensorflow",)}
_TORCH_IMAGES = 64  # torch is ten times slower than the float graph, and a wrong graph shows on the first image
_DEFAULTS = Options()


@dataclass
class _Notes:
    say: Callable[[str], None]
    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        self.lines.append(line)
        self.say(line)


def convert(
    model: str | Path | Source,
    output: str | Path,
    calibration: list[LabelledImage] | Callable[[], list[LabelledImage]],
    evaluation: list[LabelledImage] | None = None,
    options: Options = _DEFAULTS,
    say: Callable[[str], None] = lambda line: None,
    step: Callable[[str], None] = lambda name: None,
    report_path: str | Path | None = None,
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
    source = _load(model, options, notes)
    stand_in = callable(calibration)
    calibration = calibration() if callable(calibration) else calibration
    calibration, evaluation = split(calibration, evaluation, notes.add)
    contract = first_contract(source, options, notes.add)
    baked = contract.guard.profile if contract.guard.place == "in-graph" else None
    if baked is not None:
        check_bakeable(baked, contract.input.width, contract.input.height)
    step(f"sanitising {len(calibration) + len(evaluation)} images")
    pixels_of = replace(
        contract,
        guard=contract.guard if baked is None else ContractGuard(baked, "input"),
        input=replace(contract.input, dtype="uint8"),
    )
    calibration_pixels, evaluation_pixels = prepare(calibration, pixels_of), prepare(evaluation, pixels_of)
    for line in odd_images(calibration, calibration_pixels, pixels_of):
        notes.add(line)
    step("settling preprocessing and labels")
    settled = settle(source, options, contract, calibration_pixels, evaluation, evaluation_pixels, notes.add, stand_in)
    folder, log = Path(tempfile.mkdtemp(prefix="edgeguard-")), new_log()
    try:
        step("converting to a float graph")
        graph = source.export(settled.normalisation, (contract.input.width, contract.input.height), folder, log)
        float_data = graph.path.read_bytes()
        _warn_vanished(source, float_data, notes)
        mended, dead = flatbuffer_edit.mend_dead_filters(float_data)
        if dead:
            notes.add(f"{dead} filters are all zero; each got one tiny weight so that int8 can hold its bias")
            graph.path.write_bytes(mended)
        job = Job(options, settled.contract, graph, calibration_pixels, log)
        received = evaluation_pixels
        if baked is not None:
            received = prepare(evaluation, replace(contract, input=replace(contract.input, dtype="uint8")))
        with chatter_to(log):  # the runtime introduces itself once
            float_outputs = run_graph(float_data, evaluation_pixels, graph.feed)
        trained = source.outputs(settled.normalisation.apply(evaluation_pixels[:_TORCH_IMAGES]))
        step("calibrating and quantising")
        for candidate in candidates(job, notes.add):
            finished = candidate.data if baked is None else splice(candidate.data, baked)
            check_file(finished, options.input_type, candidate.float_allowed)
            step(f"gates on {len(evaluation)} images")
            outputs = run_graph(finished, received, job.feed)
            report = judge(trained, float_outputs, outputs, settled.contract, settled.targets, options.thresholds)
            if not report.failures:
                break
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if candidate.float_layers:
        notes.add(f"MIXED PRECISION: {len(candidate.float_layers)} of {candidate.operators} operators stay float")
    name, source_hash = _identity(model, source)
    contract = replace(
        settled.contract,
        source_sha256=source_hash,
        calibration_sha256=digest(calibration),
        versions=_versions(source.kind),
        gates={**report.to_dict(), **candidate.how()},
    )
    if report_path is not None:
        step("writing the report")
        findings = Findings(
            layers=layer_snr(float_data, finished, evaluation_pixels, graph.feed, log, job.feed),
            latencies=measure_latency(float_data, finished, evaluation_pixels[0], graph.feed, job.feed),
            worst=worst_images([i.name for i in evaluation], received, float_outputs, outputs, contract),
            operators=flatbuffer_edit.operators(finished),
            edgetpu=predict(finished),
        )
        write = json_report if Path(report_path).suffix.lower() == ".json" else html_report
        write_bytes(Path(report_path), write(name, contract, report, findings, len(finished)).encode())
    if report.failures:
        blamed = ""
        if options.precision == "int8" and not options.auto_mixed and not report.failures[0].startswith("float gate"):
            layers = layer_snr(float_data, finished, evaluation_pixels, graph.feed, log, job.feed)
            blamed = f"; layers to blame: {', '.join(blame(layers))}; try --auto-mixed"
        hint = "; these are stand-in pictures: give --calibrate with your own" if stand_in else ""
        raise CheckFailed(f"{'; '.join(report.failures)} (n = {report.n}{hint}){blamed}; nothing was written")
    data = flatbuffer_edit.add_contract(finished, ENTRY, contract.to_json(), contract.labels)
    step("checking the file in a fresh process")
    _check_reload(data, finished, job.feed(evaluation_pixels[:1]))
    write_bytes(output, data)
    log.unlink(missing_ok=True)
    operators = flatbuffer_edit.operators(data)
    return Conversion(output, contract, report, settled.normalisation, operators, tuple(notes.lines), len(data))


def _load(model: str | Path | Source, options: Options, notes: _Notes) -> Source:
    if isinstance(model, Source):
        source = model
    else:
        if options.trust_pickle:
            notes.add("--trust-pickle: if the file is a pickle, the code in it runs now, with your rights")
        source = load_source(Path(model), arch=options.arch, size=options.size, trust_pickle=options.trust_pickle)
    if bad := source.not_finite():
        raise InputError(f"the model's weights hold NaN or infinity (first in {bad}): its training diverged")
    return source


def _identity(model: str | Path | Source, source: Source) -> tuple[str, str | None]:
    """A name for the report's title, and the hash of the file."""
    if isinstance(model, Source):
        return source.kind, None
    return Path(model).name, sha256_file(Path(model)) if Path(model).is_file() else None


def _warn_vanished(source: Source, float_data: bytes, notes: _Notes) -> None:
    expected, kept = source.parameter_count(), flatbuffer_edit.parameter_count(float_data)
    if expected and kept < 0.9 * expected:
        notes.add(f"only {kept:,} of {expected:,} parameters are left: branches with zero weights were folded away")


def _check_reload(data: bytes, finished: bytes, tensor: NDArray[np.generic]) -> None:
    fresh = run_in_fresh_process(data, tensor)
    from ai_edge_litert.interpreter import Interpreter

    here = Interpreter(model_content=finished, num_threads=1)
    here.allocate_tensors()
    here.set_tensor(here.get_input_details()[0]["index"], tensor)
    here.invoke()
    for detail, found in zip(here.get_output_details(), fresh, strict=True):
        if not np.array_equal(found, here.get_tensor(detail["index"])):
            raise CheckFailed("the finished file answers differently in a fresh process; nothing was written")


def _versions(kind: str) -> dict[str, str]:
    found = {"edgeguard": edgeguard.__version__}
    for name in (*_TOOLS, *_TOOLS_OF.get(kind, ())):
        try:
            found[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            continue
    return found
