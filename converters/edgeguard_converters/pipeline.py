"""`convert`: a trained model becomes a defended .tflite, or nothing at all.

The way of a model is the list of steps below; each fills in what the next ones need of the one `Work` that they share.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgeguard.datasets.images import LabeledImage, digest
from edgeguard.errors import CheckFailed
from edgeguard.model.contract import ENTRY
from edgeguard.system.files import check_writable, write_bytes
from edgeguard.system.leftovers import clear_partials
from edgeguard_converters.candidates import candidates
from edgeguard_converters.contract.image_sets import Labeled
from edgeguard_converters.contract.provenance import versions
from edgeguard_converters.edgetpu.predict import predict
from edgeguard_converters.load.model_process import ModelProcess
from edgeguard_converters.load.source import Source
from edgeguard_converters.lower import ask, ask_other_crop, export, float_answers, settle_crop
from edgeguard_converters.notes import Notes
from edgeguard_converters.options import Options, check_options
from edgeguard_converters.quantize.finetune import finetune_classifier
from edgeguard_converters.result import Conversion
from edgeguard_converters.support.folder import work_folder
from edgeguard_converters.support.log import chatter_to, log_file
from edgeguard_converters.understand import choose_images, infer, load, outline, prepare_pictures
from edgeguard_converters.verify.checks import check_file
from edgeguard_converters.verify.crop_cost import crop_cost
from edgeguard_converters.verify.findings import find
from edgeguard_converters.verify.gates import chance_line, check_gates, loss_line
from edgeguard_converters.verify.guard_cost import guard_cost
from edgeguard_converters.verify.layers import blame, layer_snr
from edgeguard_converters.verify.one_answer import one_answer_line
from edgeguard_converters.verify.reload import check_reload
from edgeguard_converters.verify.report import html_report, json_report
from edgeguard_converters.votes import let_votes_out
from edgeguard_converters.work import Calibration, Work

__all__ = ["BUILD", "DELIVER", "Conversion", "Options", "Step", "convert", "do", "load"]

_RELOADED = 8  # images that the finished file has to answer on disk as in memory
_DEFAULTS = Options()


def convert(
    model: str | Path | Source,
    output: str | Path,
    calibration: Calibration,
    evaluation: Labeled | None = None,
    options: Options = _DEFAULTS,
    *,
    step: Callable[[str], None] = lambda name: None,
    report_path: str | Path | None = None,
    training: Labeled | None = None,
    load: Callable[..., Source] | None = None,
) -> Conversion:
    """Convert a trained classifier or detector to a .tflite with its contract inside.

    Args:
        model: a file that `registry.load_source` takes, or a source that is loaded already.
        output: where the .tflite goes; it appears only when every gate and check has passed.
        calibration: images for the quantizer's ranges; without `evaluation` every fourth is held out for the gates.
            A function makes stand-in pictures, once the model has loaded; from those no preprocessing is guessed.
        evaluation: images for the gates, with class indices where they are known; or a folder of labelled images.
        options: see `Options`.
        step: called with the name of each step as it begins, for a progress display.
        report_path: write the report here (.html, or .json for machines), also when a gate refuses the model.
        training: labelled images, or a folder of them, to fine-tune with, for `options.epochs`, if the gates refuse
            the model as it is.
        load: instead of a confined process of its own (`ModelProcess.load`), with its arguments. The hash in its
            facts becomes the contract's.

    Returns:
        What was written and measured. Its `notes`, which are logged too, are what a user has to know.

    Raises:
        InputError: something given cannot be used.
        CheckFailed: a gate or a check failed; no file was written.
    """
    check_options(options)
    work = Work(
        model=model,
        output=Path(output),
        calibration=calibration,
        evaluation=evaluation,
        training=training,
        options=options,
        report=None if report_path is None else Path(report_path),
        notes=Notes(),
        step=step,
    )
    check_writable(work.output, work.report)
    for path in (work.output, work.report):
        if path is not None:
            clear_partials(path)
    with ModelProcess() as process:
        work.load = load or process.load
        do(UNDERSTAND, work)
        with log_file() as work.log:
            with work_folder() as work.folder:
                do((ask, ask_other_crop, export, settle_crop, *JUDGE), work)
                if work.gates.failures and work.trainees:
                    _finetune(work, work.trainees)
                    do(BUILD, work)
            do(DELIVER, work)
    return work.conversion


def _answer(work: Work) -> None:
    """What the float graph says of the images for the gates."""
    work.step("running the float graph")
    expected, kept = work.parameters, work.float_graph.tflite.parameters
    if expected and kept < 0.9 * expected:
        work.notes.add(
            f"only {kept:,} of {expected:,} parameters are left: branches with zero weights were folded away"
        )
    work.mended, dead = work.float_graph.mended()
    if dead:
        work.notes.add(f"{dead} filters are all zero; each got one tiny weight so that int8 can hold its bias")
    with chatter_to(work.log):  # the runtime introduces itself once
        work.float_outputs = float_answers(work)


def _quantize(work: Work) -> None:
    work.step("calibrating and quantizing")
    work.choice = candidates(
        work.mended,
        work.images.calibration,
        contract=work.contract,
        options=work.options,
        log=work.log,
        notes=work.notes,
        stand_in=work.stand_in,
    )


def _verify(work: Work) -> None:
    """The first candidate that passes, else the one that fails the fewest gates, of these the last; where the model
    itself is refused no other is tried."""
    images, options, fewest = work.images, work.options, None
    for candidate in work.choice:
        check_file(candidate.graph, options.input_type, float_allowed=candidate.float_allowed)
        work.step(f"gates on {len(images.evaluation)} images")
        outputs = candidate.graph.outputs(images.received, candidate.feed)
        gates = check_gates(
            work.trained,
            work.float_outputs,
            outputs,
            contract=work.contract,
            labels=work.inferred.targets,
            thresholds=options.thresholds,
            reference=work.given,
        )
        if fewest is None or len(gates.failures) <= fewest:
            work.candidate, work.outputs, work.gates, fewest = candidate, outputs, gates, len(gates.failures)
        if not gates.failures or gates.is_of_the_model:
            break


def _finetune(work: Work, training: list[LabeledImage]) -> None:
    work.notes.add(f"not good enough yet ({'; '.join(work.gates.failures)}): fine-tuning on {len(training)} images")
    work.given = work.float_outputs
    work.source, work.progress = finetune_classifier(
        work.source, work.inferred, training, epochs=work.options.epochs, step=work.step
    )


def _describe(work: Work) -> None:
    candidate, gates = work.candidate, work.gates
    if gates.snr_db < work.options.thresholds.min_snr_db and gates.worst is not None and not gates.failures:
        name = work.chosen[1][gates.worst].name
        work.notes.add(
            f"SNR {gates.snr_db:.1f} dB over all gate images, {gates.snr_trimmed_db:.1f} dB without the worst: {name} "
            "is outside of what calibration saw; add pictures like it to --calibrate"
        )
    alike = None if work.stand_in else one_answer_line(work.float_outputs, work.contract, work.inferred.targets)
    for line in (chance_line(gates, work.contract), alike, loss_line(gates, work.contract)):
        if line is not None:
            work.notes.add(line)
    if kept := candidate.float_layers:
        work.notes.add(f"MIXED PRECISION: {len(kept)} of {candidate.operators} operators stay float")
    work.contract = replace(
        work.contract,
        source_sha256=None if isinstance(work.model, Source) else work.source.facts.sha256,
        calibration_sha256=digest(work.chosen[0]),
        training_data_sha256=work.source.facts.training_data_sha256,
        training_config_sha256=work.source.facts.training_config_sha256,
        versions=versions(work.source.kind),
        gates={**work.gates.to_dict(), **candidate.how},
    )


def _weigh_guard(work: Work) -> None:
    work.cost = None
    if work.inferred.targets is None:
        return
    work.cost = guard_cost(
        work.chosen[1],
        work.inferred.targets,
        work.outputs,
        contract=work.contract,
        graph=work.candidate.graph,
        feed=work.candidate.feed,
    )


def _weigh_crop(work: Work) -> None:
    if work.crop.by not in ("you", "file") or work.inferred.targets is None:
        return
    line = crop_cost(
        work.chosen[1],
        work.inferred.targets,
        work.outputs,
        contract=work.contract,
        graph=work.candidate.graph,
        feed=work.candidate.feed,
    )
    if line is not None:
        work.notes.add(line)


def _let_votes_out(work: Work) -> None:
    if work.source.facts.patch_px is not None and work.contract.task == "classify":
        let_votes_out(work, work.source.facts.patch_px)


def _report(work: Work) -> None:
    if work.report is None:
        return
    work.step("writing the report")
    title = work.source.kind if isinstance(work.model, Source) else Path(work.model).name
    findings = find(
        work.float_graph,
        work.candidate.graph,
        feed=work.candidate.feed,
        images=work.images,
        names=[image.name for image in work.chosen[1]],
        outputs=(work.float_outputs, work.outputs),
        contract=work.contract,
        log=work.log,
        classes="" if work.mapping is None else work.mapping.line,
        cost=work.cost,
    )
    write = json_report if work.report.suffix.lower() == ".json" else html_report
    page = write(title, work.contract, work.gates, findings, len(work.candidate.graph.data))
    write_bytes(work.report, page.encode())


def _refuse(work: Work) -> None:
    """Where a gate failed: why nothing is written, with the layers to blame."""
    gates, options, blamed = work.gates, work.options, ""
    if not gates.failures:
        return
    if options.precision == "int8" and not options.auto_mixed and not gates.failures[0].startswith("float gate"):
        candidate, pixels = work.candidate, work.images.evaluation
        layers = layer_snr(work.float_graph, candidate.graph, pixels, log=work.log, feed=candidate.feed)
        blamed = f"; layers to blame: {', '.join(blame(layers))}; try --auto-mixed"
    if gates.worst is not None and any(line.startswith("SNR gate") for line in gates.failures):
        blamed = f"; int8 holds {work.chosen[1][gates.worst].name} worst{blamed}"
    hint = "; these are stand-in pictures: give --calibrate with your own" if work.stand_in else ""
    raise CheckFailed(f"{'; '.join(gates.failures)} (n = {gates.n}{hint}){blamed}; nothing was written")


def _write(work: Work) -> None:
    judged, contract = work.candidate.graph, work.contract
    file = judged.with_contract(ENTRY, contract.to_json(), contract.labels)
    work.step("checking the file in a fresh process")
    inputs = work.candidate.feed(work.images.received[:_RELOADED])
    for line in check_reload(file, judged, inputs, pythons=work.options.runtimes):
        work.notes.add(line)
    write_bytes(work.output, file.data)
    if work.progress is not None:
        work.progress.unlink(missing_ok=True)
    work.conversion = Conversion(
        path=work.output,
        contract=contract,
        report=work.gates,
        normalization=work.inferred.normalization,
        operators=file.operators(),
        edgetpu=predict(file),
        notes=tuple(work.notes.lines),
        bytes=len(file.data),
        guard_cost=work.cost,
        crop=work.crop.text,
    )


Step = Callable[[Work], None]
#: What the model is, and what it expects of images.
UNDERSTAND: tuple[Step, ...] = (load, choose_images, outline, prepare_pictures, infer)
JUDGE: tuple[Step, ...] = (_answer, _quantize, _verify)  # a graph that passes
BUILD: tuple[Step, ...] = (ask, export, *JUDGE)
#: The report also where a gate failed, the file only where none did.
DELIVER: tuple[Step, ...] = (_describe, _weigh_guard, _weigh_crop, _report, _refuse, _let_votes_out, _write)


def do(steps: tuple[Step, ...], work: Work) -> None:
    """Step after step."""
    for each in steps:
        each(work)
