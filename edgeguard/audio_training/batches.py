"""Batches of sound: which clips a step hears and what happens to them. A batch depends on nothing but its step."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.audio.features import CENTER, UNIT
from edgeguard.audio.path import SoundPath
from edgeguard.audio_training.config import SoundConfig
from edgeguard.audio_training.data import Clips

_AHEAD = 2  # batches that are made while the network works


class SoundBatches:
    """The batches of a training, any step of them at any time.

    Args:
        clips: the training part.
        path: what the network hears of a window.
        config: batch, seed and augmentation.
    """

    def __init__(self, clips: Clips, path: SoundPath, config: SoundConfig) -> None:
        self._clips, self._path, self._config = clips, path, config
        self._kept: dict[int, NDArray[np.uint8]] = {}  # of clips that are the same in every epoch
        self.per_epoch = max(len(clips) // config.batch, 1)

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Normalized input (n, planes, rows, columns) and targets (n,) of a step, counted from 0 over all epochs."""
        config = self._config
        epoch, place = divmod(step, self.per_epoch)
        order = np.random.default_rng([config.seed, 1, epoch]).permutation(len(self._clips))
        rows = order[place * config.batch : (place + 1) * config.batch]
        rng = np.random.default_rng([config.seed, 2, step])
        return normalized([self._levels(row, rng) for row in rows]), torch.from_numpy(self._clips.targets[rows])

    def _levels(self, row: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        if self._config.augments:
            return self._path(augmented(self._clips.samples[row], self._config, self._path, rng))
        if row not in self._kept:
            self._kept[row] = self._path(self._path.placed(self._clips.samples[row])[0])
        return self._kept[row]

    def steps(self, first: int, last: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of steps `first` to `last` (not included), made ahead in a thread."""
        with ThreadPoolExecutor(1, "edgeguard-sound") as pool:
            waiting: list[Future[tuple[Tensor, Tensor]]] = []
            for step in range(first, last):
                waiting.append(pool.submit(self.at, step))
                if len(waiting) > _AHEAD:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()


def augmented(
    samples: NDArray[np.int16], config: SoundConfig, path: SoundPath, rng: np.random.Generator
) -> NDArray[np.int16]:
    """A clip anywhere in its window, louder or softer, with white noise on half of them; int16 (path.spec.taken,)."""
    length = path.spec.taken
    room = length - len(samples)
    if config.shift and room:
        if room > 0:
            before = int(rng.integers(room + 1))
            window = np.pad(samples, (before, room - before))
        else:
            start = int(rng.integers(-room + 1))
            window = samples[start : start + length]
    else:
        window = path.placed(samples)[0]
    gain = 10 ** (rng.uniform(-config.gain_db, config.gain_db) / 20)
    changed = window * gain
    if config.noise_db > -100 and rng.random() < 0.5:
        level_db = rng.uniform(config.noise_db - 30, config.noise_db)
        changed = changed + rng.normal(0, 32768 * 10 ** (level_db / 20), length)
    return np.clip(np.rint(changed), -32768, 32767).astype(np.int16)


def normalized(levels: list[NDArray[np.uint8]]) -> Tensor:
    """uint8 (rows, columns, planes) of each window to float32 (n, planes, rows, columns) around 0."""
    x = torch.from_numpy(np.stack(levels)).permute(0, 3, 1, 2).contiguous().to(torch.float32)
    return (x - CENTER) / UNIT


def heard(clips: Clips, path: SoundPath) -> Tensor:
    """What the network is tested on: each clip in the middle of its window, nothing changed."""
    return normalized([path(path.placed(samples)[0]) for samples in clips.samples])
