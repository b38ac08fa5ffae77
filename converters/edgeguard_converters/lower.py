"""The middle steps of a conversion (see `pipeline`): the trained model answers, its float graph is written and, where
labelled images say that the guess of a crop is wrong, the other crop is taken."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.images import prepare
from edgeguard_converters.contract.crop import (
    UNKNOWN,
    CropChoice,
    chosen_by_labels,
    judged_images,
    other_crop,
    with_crop,
)
from edgeguard_converters.contract.image_sets import behind_the_guard
from edgeguard_converters.contract.infer import best_classes, scores_are, that_can_be_compared
from edgeguard_converters.graph.run import Outputs
from edgeguard_converters.support.log import chatter_to
from edgeguard_converters.support.memory import give_back_memory
from edgeguard_converters.understand import infer, prepare_pictures, sketch
from edgeguard_converters.work import KnownAnswers, Work

_TORCH_IMAGES = 32  # torch is slower than the float graph, and a wrong graph shows on the first image


def ask(work: Work) -> None:
    """What the trained model says of the first images for the gates."""
    work.step("running the trained model")
    give_back_memory()
    work.trained = _trained(work, work.images.evaluation)
    work.parameters = work.source.parameter_count()


def ask_other_crop(work: Work) -> None:
    """The same behind the crop that is in question, if one is: the model is gone by the time that this is settled."""
    work.other_crop, work.other_trained = None, None
    other = other_crop(work.crop)
    if other is None:
        return
    if work.inferred.targets is None or work.stand_in or work.contract.input.color == "DCT":
        if work.crop.by == "nobody":
            work.notes.add(UNKNOWN)
        return
    work.other_crop = other
    if not work.inferred.judged:
        first = np.arange(min(_TORCH_IMAGES, len(work.chosen[1])))
        work.other_trained = _trained(work, _behind(work, other, first))


def export(work: Work) -> None:
    """The float graph; the model goes as soon as nothing can be wanted of it, for it holds most of the memory."""
    normalization, size = work.inferred.normalization, work.contract.input
    work.step("converting to a float graph")
    give_back_memory()
    work.known = None
    work.float_graph = work.source.export(normalization, (size.width, size.height), work.folder, work.log)
    give_back_memory()
    if work.other_crop is None or work.other_trained is not None:
        work.source.release()


def settle_crop(work: Work) -> None:
    """Where labelled images say that the guess of a crop is wrong, the steps before are taken with the other one.

    The float graph answers for the trained model here, a few times faster; whether they agree, a gate looks at later.
    """
    other, inferred, stated = work.other_crop, work.inferred, work.crop
    if other is None or inferred.targets is None:
        return
    work.step("settling the crop")
    numbers = judged_images(len(inferred.targets))
    seen = _behind(work, other, numbers)
    with chatter_to(work.log):
        answers = [work.float_graph.outputs(pixels) for pixels in (work.images.evaluation[numbers], seen)]
    right, other_right = (best_classes(outputs[0]) == inferred.targets[numbers] for outputs in answers)
    work.crop, line = chosen_by_labels(stated, right, other, other_right)
    if line:
        work.notes.add(line)
    changes = (work.crop.crop, work.crop.fraction) != (stated.crop, stated.fraction)
    work.known = KnownAnswers(numbers, answers[changes])
    if changes:
        _take_crop(work)
    work.other_crop = work.other_trained = None  # settled: fine-tuning begins without the question
    work.source.release()


def float_answers(work: Work) -> Outputs:
    """What the float graph says of the images for the gates."""
    images = work.images.evaluation
    if work.known is None:
        return work.float_graph.outputs(images)
    answers = tuple(np.empty((len(images), *values.shape[1:]), np.float32) for values in work.known.outputs)
    rest = np.setdiff1d(np.arange(len(images)), work.known.numbers)
    found = [(work.known.numbers, work.known.outputs)]
    if len(rest):
        found.append((rest, work.float_graph.outputs(images[rest])))
    for numbers, outputs in found:
        for whole, values in zip(answers, outputs, strict=True):
            whole[numbers] = values
    return answers


def _take_crop(work: Work) -> None:
    """Everything that was made with the crop before, with this one.

    Where labelled images had a say in the normalization too, they are looked at again, behind this crop.
    """
    before = work.inferred
    if work.other_trained is None:
        for step in (sketch, prepare_pictures, infer):
            step(work)
        found, stated = work.inferred.normalization, before.normalization
        if (found.mean, found.std) != (stated.mean, stated.std):
            export(work)
        ask(work)
        return
    contract = replace(with_crop(before.contract, work.crop), outputs=scores_are(work.other_trained[0]))
    work.contract, work.inferred = contract, replace(before, contract=contract)
    prepare_pictures(work)
    work.trained = work.other_trained


def _trained(work: Work, pixels: NDArray[np.uint8]) -> Outputs:
    return that_can_be_compared(work.source.outputs(work.inferred.normalization.apply(pixels[:_TORCH_IMAGES])))


def _behind(work: Work, crop: CropChoice, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Images for the gates as the network sees them behind a crop."""
    contract = behind_the_guard(with_crop(work.contract, crop))
    return prepare([work.chosen[1][number] for number in numbers], contract)
