"""One conversion in the making: what its steps (see `pipeline`) hand on to each other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.classes import ClassMapping
from edgeguard.datasets.images import LabeledImage
from edgeguard.model.contract import Contract
from edgeguard_converters.candidates import Candidate
from edgeguard_converters.contract.crop import CropChoice
from edgeguard_converters.contract.image_sets import GateImages, Labeled
from edgeguard_converters.contract.infer import InferredContract
from edgeguard_converters.graph.float_graph import FloatGraph
from edgeguard_converters.graph.run import Outputs
from edgeguard_converters.load.source import Source
from edgeguard_converters.notes import Notes
from edgeguard_converters.options import Options
from edgeguard_converters.result import Conversion
from edgeguard_converters.verify.gates import GateReport
from edgeguard_converters.verify.guard_cost import GuardCost

#: Images, or a function that makes stand-in pictures.
Calibration = list[LabeledImage] | Callable[[], list[LabeledImage]]


@dataclass(frozen=True, eq=False)
class KnownAnswers:
    """What the float graph has said already: of the gates' images with these numbers, (n,), its outputs."""

    numbers: NDArray[np.int64]
    outputs: Outputs


@dataclass(eq=False, kw_only=True)
class Work:
    """One conversion: what is wanted of it, and what the steps have made so far.

    Attributes:
        model, output, calibration, evaluation, training, options, report, load, step: what `convert` was given.
        notes: what was said to the user.
        log: where the tools' chatter goes.
        folder: for files between the steps; it goes away after `BUILD`.
        source: by `load`; another one after fine-tuning.
        stand_in: the calibration images are not the user's own, by `choose_images`.
        chosen: images to calibrate, and for the gates, by `choose_images`; `trainees`: to fine-tune with.
        mapping: how the gates' folder became class indices, by `choose_images`; None where it is no folder.
        cost: what the guard costs on the gates' images, by `_weigh_guard`.
        crop: what is said of the crop, by `outline`; by whom, also once `settle_crop` has found it.
        other_crop: the crop that labelled images have to be shown with as well, by `ask_other_crop`; None without one.
        contract: by `outline`, completed by `infer`, `settle_crop` and `_describe`.
        images: by `prepare_pictures`.
        inferred: by `infer`.
        trained, parameters: what the trained model says of the first gate images, and how many trained values it
            holds, by `ask`; `other_trained`: what it says behind the other crop, by `ask_other_crop`.
        float_graph: by `export`; `mended`, by `_answer`, is the same, or the one beside it that int8 can hold.
        float_outputs: what the float graph says of the gate images, by `_answer`; `known`: of some of them, by
            `settle_crop`, so that they are not run twice.
        choice: graphs to try, by `_quantize`.
        candidate, outputs, gates: the first of them that passes, else the one that fails the fewest gates, what it
            says of the gate images and how that was judged, by `_verify`.
        given: what the float graph said before fine-tuning; None without.
        progress: the file in which fine-tuning keeps its progress.
        conversion: by `_write`.
    """

    model: str | Path | Source
    output: Path
    calibration: Calibration
    evaluation: Labeled | None
    training: Labeled | None
    options: Options
    report: Path | None
    notes: Notes
    step: Callable[[str], None]
    given: Outputs | None = None
    progress: Path | None = None
    other_crop: CropChoice | None = None
    other_trained: Outputs | None = None
    known: KnownAnswers | None = None
    load: Callable[..., Source] = field(init=False)
    log: Path = field(init=False)
    folder: Path = field(init=False)
    source: Source = field(init=False)
    stand_in: bool = field(init=False)
    chosen: tuple[list[LabeledImage], list[LabeledImage]] = field(init=False)
    trainees: list[LabeledImage] | None = field(init=False)
    mapping: ClassMapping | None = field(init=False)
    cost: GuardCost | None = field(init=False)
    crop: CropChoice = field(init=False)
    contract: Contract = field(init=False)
    images: GateImages = field(init=False)
    inferred: InferredContract = field(init=False)
    trained: Outputs = field(init=False)
    parameters: int = field(init=False)
    float_graph: FloatGraph = field(init=False)
    mended: FloatGraph = field(init=False)
    float_outputs: Outputs = field(init=False)
    choice: Iterator[Candidate] = field(init=False)
    candidate: Candidate = field(init=False)
    outputs: Outputs = field(init=False)
    gates: GateReport = field(init=False)
    conversion: Conversion = field(init=False)
