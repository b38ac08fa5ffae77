"""The methods: from the pixels of a model's input to a label and, for each size of patch, whether it is proven."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.evaluate.certify.masked_votes import MaskedVotes
from edgeguard.model import Model, load_model
from edgeguard.model.contract import require_classifier, require_pixels
from edgeguard.model.patch_votes import PatchVotes
from edgeguard.patchguard.double_masking import DoubleMasking, MaskSet
from edgeguard.system.foreign import LARGEST_PICTURE, read_bounded

Method = Literal["one-pass", "masking", "hybrid"]


class Judged(NamedTuple):
    """What a method says of one picture and one size of patch.

    Attributes:
        label: what it answers on the clean picture.
        certified: whether the right label is proven.
        inferences, ms: of that answer, certificate included.
    """

    label: int
    certified: bool
    inferences: int
    ms: float


@dataclass(frozen=True)
class Judge:
    """A method at work on a deployed file.

    Attributes:
        model: path of the .tflite.
        method: see `Method`.
        sides: of the patches, pixels of the model's input.
        per_axis: masks along each axis, of `masking`.
    """

    model: str
    method: Method
    sides: tuple[int, ...]
    per_axis: int = 6

    def __call__(self, path: str, truth: int) -> tuple[int, list[Judged], int | None]:
        """The plain label of an image file, what is said for each side, and the largest square that is proven.

        The image takes the device's own way: the contract's guard, crop and resize. The last is None for methods that
        do not tell.
        """
        model = loaded(self.model)
        way = model.input_path
        received = way.capture(_bytes(path))
        pixels, _ = way.levels(received)
        plain = int(model.infer(way.quantize(pixels)).argmax())
        if self.method == "masking":
            return plain, [self._masked(model, pixels, truth, side) for side in self.sides], None
        judged = [self._votes(model, pixels, truth, side) for side in self.sides]
        return plain, judged, _largest(model, pixels, truth)

    def _votes(self, model: Model, pixels: NDArray[np.uint8], truth: int, side: int) -> Judged:
        votes = votes_of(model, self.method)
        masked = _masked_votes(self.model, side)
        tensor = model.input_path.quantize(pixels)
        began = time.perf_counter()
        integers = votes.integers(model.run(tensor))
        if self.method == "hybrid":
            label, proven = masked(integers), masked.is_certified(integers, truth)
        else:
            label = votes.certifier.label(integers)
            proven = label == truth and votes.certifier.margin(integers, label, side) > 0
        return Judged(label, proven, 1, (time.perf_counter() - began) * 1e3)

    def _masked(self, model: Model, pixels: NDArray[np.uint8], truth: int, side: int) -> Judged:
        masks = mask_set(pixels.shape[1], side, self.per_axis)
        way = model.input_path
        defense = DoubleMasking(lambda picture: int(model.infer(way.quantize(picture)).argmax()), masks)
        began = time.perf_counter()
        verdict = defense(pixels)
        ms = (time.perf_counter() - began) * 1e3
        return Judged(verdict.label, defense.is_certified(pixels, truth), verdict.queries, ms)


def check_method(model: Model, judge: Judge) -> None:
    """Refuse what a method cannot do with this file, before the first picture.

    Raises:
        InputError: no classifier of square pictures, no map of votes, or masks that cover the whole picture.
    """
    require_classifier(model.contract, f"{judge.model}: a certificate against a patch")
    require_pixels(model.contract, "a certificate against a patch")
    width, height = model.contract.input.width, model.contract.input.height
    if max(judge.sides) > min(width, height):
        raise InputError(f"a patch of {max(judge.sides)} pixels is larger than the model's input, {width}x{height}")
    if judge.method == "masking":
        if width != height:
            raise InputError(f"{judge.model}: double masking wants a square input")
        for side in judge.sides:
            mask_set(width, side, judge.per_axis)
    else:
        votes_of(model, judge.method)


def mask_set(size: int, side: int, per_axis: int) -> MaskSet:
    """Masks of a picture against a patch.

    Raises:
        InputError: one of them covers the whole picture, so that nothing would be left to see.
    """
    masks = MaskSet(size, side, per_axis)
    if masks.side >= size:
        raise InputError(
            f"masks of {masks.side} pixels against a patch of {side} cover the whole picture of {size}: more --masks, "
            "or a smaller --patch"
        )
    return masks


def votes_of(model: Model, method: str) -> PatchVotes:
    """What gives a file's votes.

    Raises:
        InputError: it has none.
    """
    if model.votes is None:
        raise InputError(
            f"--method {method} needs a model with a map of votes, and this file's contract claims none: train one "
            "with edgeguard train --model patchcert, or use --method masking"
        )
    return model.votes


@lru_cache(maxsize=2)
def loaded(path: str) -> Model:
    """The file, loaded once in each process, on one thread."""
    return load_model(path, threads=1)


@lru_cache(maxsize=16)
def _masked_votes(path: str, side: int) -> MaskedVotes:
    votes = loaded(path).votes
    assert votes is not None
    return MaskedVotes(votes.certifier, side)


def _largest(model: Model, pixels: NDArray[np.uint8], truth: int) -> int:
    assert model.votes is not None
    integers = model.votes.integers(model.run(model.input_path.quantize(pixels)))
    certifier = model.votes.certifier
    return certifier.largest(integers, truth) if certifier.label(integers) == truth else 0


def _bytes(path: str) -> bytes:
    return read_bounded(path, LARGEST_PICTURE, "the picture")


def sides_of(shares: Sequence[float], size: int) -> tuple[int, ...]:
    """Sides of square patches in whole pixels, from shares of a square picture's area in percent.

    Example:
        >>> sides_of((2.4, 10), 32)
        (5, 10)
    """
    return tuple(max(round((share / 100) ** 0.5 * size), 1) for share in shares)
