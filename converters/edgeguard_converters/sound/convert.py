"""`convert` for a classifier of sound: the same export, quantizer, gates and checks, with clips for images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgeguard.audio.spec import audio_input
from edgeguard.errors import InputError
from edgeguard.model.contract import Contract, InputSpec, Preprocess
from edgeguard.system.archives import ForeignZip
from edgeguard.system.files import check_writable
from edgeguard.system.leftovers import clear_partials
from edgeguard_converters.contract.crop import CropChoice
from edgeguard_converters.contract.infer import InferredContract
from edgeguard_converters.graph.normalization import Normalization
from edgeguard_converters.load.archive import MOST_MEMBERS
from edgeguard_converters.notes import Notes
from edgeguard_converters.options import Options, check_options
from edgeguard_converters.pipeline import BUILD, DELIVER, Step, do, load
from edgeguard_converters.result import Conversion
from edgeguard_converters.sound.clip_sets import labeled_clips, prepared_clips, thinned
from edgeguard_converters.support.folder import work_folder
from edgeguard_converters.support.log import log_file
from edgeguard_converters.work import Work

_HELD_OUT_EVERY = 4
_LARGEST_FACTS = 1 << 20  # bytes


def hears_sound(model: Path) -> bool:
    """True for a .pt2 that says of itself that it hears sound. Nothing of it is loaded.

    False for what cannot be read: the reader of models, which comes next and is confined, says what is wrong with it.
    """
    try:
        with ForeignZip(model, most_members=MOST_MEMBERS) as archive:
            found = [entry for entry in archive.entries if entry.filename.endswith("extra/edgeguard.json")]
            return len(found) == 1 and b'"audio": {' in archive.read(found[0], _LARGEST_FACTS)
    except InputError:
        return False


def convert_sound(
    model: Path,
    output: Path,
    calibration: Path,
    evaluation: Path | None,
    options: Options,
    *,
    step: Callable[[str], None] = lambda name: None,
    report_path: Path | None = None,
) -> Conversion:
    """Convert a classifier of sound that `edgeguard train --task audio` wrote.

    Args:
        model: its .pt2.
        output: where the .tflite goes; it appears only when every gate and check has passed.
        calibration: clips for the quantizer's ranges, a folder or a .zip; those below train/ where there is such.
        evaluation: clips for the gates, below test/ where there is such; without, every fourth is held out.
        options: precision, thresholds, ranges; those of pictures have no meaning.
        step: called with the name of each step as it begins.
        report_path: write the report here (.html, or .json for machines).

    Raises:
        InputError: something given cannot be used.
        CheckFailed: a gate or a check failed; no file was written.
    """
    from edgeguard_converters.load.model_process import ModelProcess

    check_options(options)
    work = Work(
        model=model, output=output, calibration=[], evaluation=None, training=None, options=options,
        report=report_path, notes=Notes(), step=step,
    )  # fmt: skip
    check_writable(work.output, work.report)
    for path in (work.output, work.report):
        if path is not None:
            clear_partials(path)
    with ModelProcess() as process:
        work.load = process.load
        do((load, _outline, _clips(calibration, evaluation)), work)
        with log_file() as work.log:
            with work_folder() as work.folder:
                do(BUILD, work)
            do(DELIVER, work)
    return work.conversion


def _outline(work: Work) -> None:
    facts = work.source.facts
    if facts.audio is None:
        raise InputError("the model does not say what it hears: only models of edgeguard train --task audio do")
    if facts.mean is None or facts.std is None:
        raise InputError("the model does not say its preprocessing")
    audio = audio_input(facts.audio)
    rows, columns, planes = audio.shape
    work.stand_in, work.mapping, work.trainees, work.cost = False, None, None, None
    work.crop = CropChoice("none", 1.0, "nobody", "")
    work.contract = Contract(
        input=InputSpec(columns, rows, work.options.input_type, color="GRAY", kind="audio", planes=planes),
        preprocess=Preprocess("none", 1.0, mean=facts.mean, std=facts.std),
        labels=work.options.labels or facts.labels or (),
        audio=audio,
    )


def _clips(calibration: Path, evaluation: Path | None) -> Step:
    def prepare(work: Work) -> None:
        labels, audio = work.contract.labels, work.contract.audio
        assert audio is not None
        calibrating = labeled_clips(calibration, labels, "train", work.notes)
        if evaluation is None:
            judging = calibrating[::_HELD_OUT_EVERY]
            calibrating = [clip for i, clip in enumerate(calibrating) if i % _HELD_OUT_EVERY]
        else:
            judging = labeled_clips(evaluation, labels, "test", work.notes)
            judged = {clip.sha256 for clip in judging}
            calibrating = [clip for clip in calibrating if clip.sha256 not in judged]
        if not calibrating or not judging:
            raise InputError("too few clips: some are needed to calibrate, and others for the gates")
        calibrating = thinned(calibrating)
        work.step(f"hearing {len(calibrating) + len(judging)} clips")
        work.images, work.chosen = prepared_clips(calibrating, judging, audio, work.notes)
        normalization = Normalization(work.contract.preprocess.mean, work.contract.preprocess.std, "file")
        outputs = work.source.outputs(normalization.apply(work.images.evaluation[:2]))
        if len(outputs) != 1 or outputs[0].ndim != 2 or (labels and outputs[0].shape[1] != len(labels)):
            raise InputError(f"the model's outputs are not the scores of {len(labels)} classes")
        known = [label for label in work.images.labels if label is not None]
        targets = np.array(known, np.int64) if len(known) == len(work.images.labels) else None
        work.inferred = InferredContract(normalization, work.contract, targets, judged=False)

    return prepare
