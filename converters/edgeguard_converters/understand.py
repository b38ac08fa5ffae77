"""The first steps of a conversion (see `pipeline`): what the model is, and what it expects of pictures."""

from pathlib import Path

from edgeguard.datasets.classes import Classes
from edgeguard.datasets.readable import readable
from edgeguard.errors import InputError
from edgeguard_converters.contract.crop import stated_crop
from edgeguard_converters.contract.image_sets import prepare_images, read_labeled, split, that_fit
from edgeguard_converters.contract.infer import infer_contract
from edgeguard_converters.contract.missing import refuse_if_lacking, with_the_rest
from edgeguard_converters.contract.outline import outline_contract
from edgeguard_converters.graph.baked_guard import check_bakeable
from edgeguard_converters.load.source import Source
from edgeguard_converters.work import Work


def load(work: Work) -> None:
    """The model, in a process of its own, with what it says of itself."""
    work.step("loading the model")
    options = work.options
    if isinstance(work.model, Source):
        work.source = work.model
    else:
        if options.trust_pickle:
            work.notes.add("--trust-pickle: if the file is a pickle, the code in it runs now, with your rights")
        try:
            work.source = work.load(
                Path(work.model),
                arch=options.arch,
                size=options.size,
                trust_pickle=options.trust_pickle,
                onnx2tf=options.onnx2tf,
                weights=options.weights,
            )
        except InputError as error:
            raise with_the_rest(error, str(work.model), options, stand_in=callable(work.calibration)) from error
        size, facts = work.source.size, work.source.facts
        refuse_if_lacking(
            str(work.model), size, options, preprocessing=facts.mean is not None, stand_in=callable(work.calibration)
        )
    for line in work.source.facts.said:
        work.notes.add(line)
    if bad := work.source.not_finite():
        raise InputError(f"the model's weights hold NaN or infinity (first in {bad}): its training diverged")
    work.source.get_ready()


def choose_images(work: Work) -> None:
    """What calibrates, and what the gates judge on."""
    work.stand_in = callable(work.calibration)
    size = work.source.size or work.options.size  # where both are missing, the conversion was refused
    assert size is not None
    calibration = work.calibration() if callable(work.calibration) else work.calibration
    if not work.stand_in:
        what = "calibration images"
        calibration = readable(that_fit(calibration, what, size, work.notes), what)
    labels = work.options.labels if work.options.labels is not None else work.source.facts.labels or ()
    known = Classes.of(labels, None, work.options.background)
    evaluation, work.mapping = read_labeled(work.evaluation, "evaluation images", known, work.notes, size)
    work.trainees, _ = read_labeled(work.training, "images to fine-tune with", known, work.notes, size)
    work.chosen = split(calibration, evaluation, work.notes)


def outline(work: Work) -> None:
    """What is known of the contract before any picture is looked at."""
    work.crop = stated_crop(work.options, work.source.facts)
    sketch(work)


def sketch(work: Work) -> None:
    """The contract with the crop that is chosen so far."""
    source = work.source
    work.contract = contract = outline_contract(
        source.facts, work.options, work.crop, work.notes, size=source.size, kind=source.kind
    )
    if contract.guard.place == "in-graph" and contract.guard.profile is not None:
        check_bakeable(contract.guard.profile, contract.input.width, contract.input.height)


def prepare_pictures(work: Work) -> None:
    """The pictures as the device will see them."""
    calibration, evaluation = work.chosen
    work.step(f"sanitizing {len(calibration) + len(evaluation)} images")
    work.images = prepare_images(calibration, evaluation, work.contract, notes=work.notes, stand_in=work.stand_in)


def infer(work: Work) -> None:
    """What labelled pictures, the family and the file tell of preprocessing and labels."""
    work.step("settling preprocessing and labels")
    work.inferred = infer_contract(
        work.source, work.options, work.contract, images=work.images, notes=work.notes, mapping=work.mapping
    )
    work.contract = work.inferred.contract
