"""Batches: which images a step sees and what happens to them. A step's batch depends on nothing but the step."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.patchguard.double_masking import MaskSet
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.config import AugmentConfig
from edgeguard.train.data import Part

_AHEAD = 2  # batches that are made while the network works


@dataclass(frozen=True)
class Batch:
    """float32 (n, 3, h, w) levels in channels-last memory, and targets (n,)."""

    levels: Tensor
    targets: Tensor


class Batches:
    """The batches of a training, any step of them at any time.

    Everything random is drawn from the seed and the step, so that a training that goes on after an interruption sees
    what it would have seen.

    Args:
        part: the training images.
        size: side of the pictures, pixels.
        batch: images of a step.
        seed: of everything random.
        augment: what happens to them.
        codec: what they go through then; None for nothing (adversarial training puts it behind the attack).
        masks: of which each picture gets two; None for none.
    """

    def __init__(
        self,
        part: Part,
        *,
        size: int,
        batch: int,
        seed: int,
        augment: AugmentConfig,
        codec: TrainingCodec | None,
        masks: MaskSet | None = None,
    ) -> None:
        self._masks = masks
        self._part, self._size, self._batch, self._seed = part, size, batch, seed
        self._augment, self._codec = augment, codec
        self.per_epoch = max(len(part) // batch, 1)

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all epochs."""
        augment = self._augment
        epoch, place = divmod(step, self.per_epoch)
        order = np.random.default_rng([self._seed, 1, epoch]).permutation(len(self._part))
        rows = order[place * self._batch : (place + 1) * self._batch]
        rng = np.random.default_rng([self._seed, 2, step])
        pixels = augmented(self._part.pixels(rows, self._size), augment.flip, augment.shift, rng, augment.cutout)
        if augment.light:
            pixels = relit(pixels, augment.light, rng)
        if self._codec is not None:
            pixels = self._codec(pixels, rng)
        if self._masks is not None:
            from edgeguard.train.certified.masks import doubly_masked  # not on a board

            pixels = doubly_masked(pixels, self._masks, rng)
        return Batch(to_levels(pixels), torch.from_numpy(self._part.targets[rows]))

    def steps(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of steps `first` to `last` (not included), made ahead in a thread."""
        with ThreadPoolExecutor(1, "edgeguard-batches") as pool:
            waiting: list[Future[Batch]] = []
            for step in range(first, last):
                waiting.append(pool.submit(self.at, step))
                if len(waiting) > _AHEAD:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()


def augmented(
    images: NDArray[np.uint8], flip: bool, shift: int, rng: np.random.Generator, cutout: int = 0
) -> NDArray[np.uint8]:
    """Each image mirrored half of the time, moved by up to `shift` pixels (what is bared is reflected), and with a grey
    square of `cutout` pixels that may hang over the edge."""
    count, height, width = images.shape[:3]
    if flip:
        mirrored = rng.random((count, 1, 1, 1)) < 0.5
        images = np.where(mirrored, images[:, :, ::-1], images)
    if shift:
        padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)), "reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), (1, 2))
        down, right = rng.integers(0, 2 * shift + 1, (2, count))
        images = windows[np.arange(count), down, right].transpose(0, 2, 3, 1)
    images = np.array(images)
    if cutout:
        corners = rng.integers(0, (height, width), (count, 2)) - cutout // 2
        for image, (y, x) in zip(images, corners.tolist(), strict=True):
            image[max(y, 0) : y + cutout, max(x, 0) : x + cutout] = 128
    return images


def relit(images: NDArray[np.uint8], light: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Each image with its contrast (around grey) and its brightness changed by up to a share, drawn evenly."""
    gain = rng.uniform(1 - light, 1 + light, (len(images), 1, 1, 1)).astype(np.float32)
    offset = (127.5 * rng.uniform(-light, light, (len(images), 1, 1, 1))).astype(np.float32)
    return np.clip((images - np.float32(127.5)) * gain + 127.5 + offset + 0.5, 0, 255).astype(np.uint8)
