"""The training loop of sound."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeguard.audio.path import SoundPath
from edgeguard.audio_training.batches import SoundBatches, heard
from edgeguard.audio_training.config import SoundConfig
from edgeguard.audio_training.data import SoundData
from edgeguard.train.resumable import ResumableTraining, rise_and_fall

_WARMUP = 0.1  # of the steps
_TEST_BATCH = 100


class SoundTrainer(ResumableTraining):
    """One training.

    Args:
        network: what is trained, in place.
        data: its clips.
        path: what the network hears of them.
        folder: of the checkpoint and the log; what is in it is gone on with.
        config: everything else.

    Raises:
        InputError: the folder holds a checkpoint of another configuration or of other clips.
    """

    def __init__(self, network: nn.Module, data: SoundData, path: SoundPath, folder: Path, config: SoundConfig) -> None:
        self._config = config
        self._batches = SoundBatches(data.train, path, config)
        self._test, self._targets = heard(data.test, path), data.test.targets
        super().__init__(
            network,
            None,
            torch.optim.Adam(network.parameters(), config.learning_rate),
            folder,
            epochs=config.epochs,
            per_epoch=self._batches.per_epoch,
            config_sha256=config.sha256,
            data_sha256=_heard_sha256(data, path),
        )
        self.resume()

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """See `ResumableTraining`."""
        yield from self._batches.steps(self.step, self.steps)

    def rate_at(self, step: int) -> float:
        """See `ResumableTraining`."""
        return rise_and_fall(step, self.steps, self._config.learning_rate, _WARMUP)

    def train_on(self, x: Tensor, targets: Tensor) -> None:
        """See `ResumableTraining`."""
        self.network.train()
        torch.manual_seed(self._config.seed * 1_000_003 + self.step)  # what dropout draws, after a resumption too
        out = self.network(x)
        self.descend(F.cross_entropy(out, targets), out, targets)

    def tested(self) -> tuple[int, int]:
        """See `ResumableTraining`."""
        return int((self.answers() == self._targets).sum()), len(self._targets)

    def answers(self) -> NDArray[np.int64]:
        """The class that the network says of each test clip."""
        return answers_of(self.network, self._test)


def _heard_sha256(data: SoundData, path: SoundPath) -> str:
    """Of the clips and of what is heard of them: a training does not go on with other features."""
    spec = json.dumps(path.spec.to_dict(), sort_keys=True)
    return hashlib.sha256(f"{data.train.sha256} {spec}".encode()).hexdigest()


def answers_of(network: nn.Module, x: Tensor) -> NDArray[np.int64]:
    """The class that a network says of each of (n, planes, rows, columns), in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        parts = [network(x[i : i + _TEST_BATCH]).argmax(1) for i in range(0, len(x), _TEST_BATCH)]
    return torch.cat(parts).numpy()
