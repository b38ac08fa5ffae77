"""Fine-tuning of a classifier that loses too much to int8: epoch by epoch, so that an interrupted one goes on.

A model of a file is trained in the process that holds it (`training_process`), a module that is in this process here
(`quantized_training`). What is kept after an epoch is bytes of whoever trains; nothing here looks into them.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.images import LabeledImage, prepare
from edgeguard.errors import InputError
from edgeguard.system.files import write_bytes
from edgeguard.system.leftovers import clear_partials
from edgeguard_converters.contract.image_sets import behind_the_guard
from edgeguard_converters.contract.infer import InferredContract
from edgeguard_converters.graph.normalization import Normalization
from edgeguard_converters.load.model_process import ProcessSource
from edgeguard_converters.load.source import Source
from edgeguard_converters.quantize.training import BATCH, Training
from edgeguard_converters.quantize.training_process import NO_CLASSIFIER, ProcessTraining
from edgeguard_converters.support.cache import cache_file

_KEPT = 3  # trainings whose progress stays; that of older ones goes when a new one begins


def finetune_classifier(
    source: Source,
    inferred: InferredContract,
    training: list[LabeledImage],
    *,
    epochs: int,
    step: Callable[[str], None],
) -> tuple[Source, Path]:
    """Fine-tune a classifier of pixels on labelled images, prepared as its contract says; see `finetune`.

    Args:
        source: the model. One in a process of its own is loaded again in a fresh one, which then answers for it.
        inferred: its contract and its normalization.
        training: images with class indices.
        epochs: how often each image is seen.
        step: called with a line at the start of each epoch.

    Raises:
        InputError: no torch classifier of pixels, images without labels, or the module cannot be exported for training.
    """
    contract = inferred.contract
    if contract.task != "classify" or contract.input.color != "RGB":
        raise InputError(NO_CLASSIFIER)
    labels = [image.label for image in training]
    if any(label is None for label in labels):
        raise InputError("--finetune needs labeled images: class folders, or labels.csv")
    size = contract.input.width, contract.input.height
    return finetune(
        _training(source, inferred.normalization, size, images=epochs * len(training)),
        inferred.normalization,
        prepare(training, behind_the_guard(contract)),
        targets=np.array(labels, np.int64) + int(contract.background),
        epochs=epochs,
        step=step,
    )


def finetune(
    training: Training,
    normalization: Normalization,
    pixels: NDArray[np.uint8],
    *,
    targets: NDArray[np.int64],
    epochs: int,
    step: Callable[[str], None] = lambda name: None,
) -> tuple[Source, Path]:
    """A source with weights that survive int8 better, and the file that its progress is kept in.

    The file is written after each epoch, so that an interrupted run goes on where it was; the caller removes it when
    the weights have arrived where they belong.

    Args:
        training: of a classifier.
        normalization: of its input.
        pixels: sanitised training images as the model sees them, (n, h, w, 3) of uint8.
        targets: raw output index of each, (n,) of int64.
        epochs: how often each image is seen.
        step: called with a line at the start of each epoch.

    Raises:
        InputError: a label that the model has no output for.
    """
    batches = range(-(-len(pixels) // BATCH))
    for each in batches:
        some = slice(each * BATCH, (each + 1) * BATCH)
        training.show(pixels[some], targets[some])
    kept = progress_file(training.identity, normalization, pixels, targets)
    for epoch in range(training.begin(_read(kept), epochs), epochs):
        step(f"fine-tuning, epoch {epoch + 1} of {epochs}")
        for batch in batches:
            training.train(epoch, batch)
        if kept.parent.is_dir():
            write_bytes(kept, training.state(epoch + 1))
    return training.tuned(), kept


def progress_file(
    identity: str, normalization: Normalization, pixels: NDArray[np.uint8], targets: NDArray[np.int64]
) -> Path:
    """Where the progress of this fine-tuning is kept: a name made of the model, the images and the labels.

    Whoever trains has no say in it: what the process of one file left is never handed to that of another.
    """
    numbers = repr((identity, normalization.mean, normalization.std, pixels.shape))
    total = hashlib.sha256(numbers.encode())
    total.update(np.ascontiguousarray(pixels).data)
    total.update(np.ascontiguousarray(targets).data)
    kept = cache_file(f"finetune-{total.hexdigest()[:24]}.pt")
    clear_partials(kept)
    _clear_old(kept)
    return kept


def _training(source: Source, normalization: Normalization, size: tuple[int, int], *, images: int) -> Training:
    if isinstance(source, ProcessSource):
        return ProcessTraining(source, normalization, size, images=images)
    from edgeguard_converters.load.torch_source import TorchSource  # with it comes torch
    from edgeguard_converters.quantize.quantized_training import QuantizedTraining

    if not isinstance(source, TorchSource):
        raise InputError(NO_CLASSIFIER)
    return QuantizedTraining(source, normalization, size)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _clear_old(kept: Path) -> None:
    others: list[tuple[float, Path]] = []
    for path in kept.parent.glob("finetune-*.pt"):
        try:
            others.append((path.lstat().st_mtime, path))
        except OSError:
            continue  # another conversion cleared it
    for _, path in sorted(others, reverse=True)[_KEPT:]:
        if path != kept:
            path.unlink(missing_ok=True)
