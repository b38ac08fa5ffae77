"""`edgeguard train --task audio`: clips in, a program for `convert`, a log and curves out."""

import copy
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeguard.audio.codebook import blocks_of
from edgeguard.audio.features import CENTER, UNIT
from edgeguard.audio.path import SoundPath
from edgeguard.audio.spec import AudioInput
from edgeguard.audio_training.config import SoundConfig, fold_of
from edgeguard.audio_training.data import Clips, SoundData, read_sound, speakers
from edgeguard.audio_training.kmeans import fit_codebook
from edgeguard.audio_training.loop import SoundTrainer
from edgeguard.audio_training.network import SoundNet
from edgeguard.errors import InputError
from edgeguard.statistics import wilson
from edgeguard.system.files import write_bytes
from edgeguard.system.leftovers import clear_partials
from edgeguard.system.names import is_plain_name, refuse_special
from edgeguard.system.outputs import into_folder
from edgeguard.train.curves import accuracy_page
from edgeguard.train.export import write_program
from edgeguard.train.log import Epoch
from edgeguard.train.resumable import Progress
from edgeguard.train.weight_quantization import restrict_first_layer, with_plain_weights
from edgeguard_converters.training_data.merkle import data_root

_log = logging.getLogger(__name__)

MODEL, CONFIG, PAGE, ANSWERS = "model.pt2", "config.json", "curves.html", "answers.json"


@dataclass(frozen=True)
class TrainedSound:
    """What a training on sound ended with.

    Attributes:
        folder: of its files.
        hits, n: right answers on the test part, and how many clips it has.
        weights: of the network.
        spec: what it hears.
        epochs: the log.
        source: what the clips are, for whoever quotes a figure.
    """

    folder: Path
    hits: int
    n: int
    weights: int
    spec: AudioInput
    epochs: tuple[Epoch, ...]
    source: str

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, 95 %."""
        return wilson(self.hits, self.n)


def train_sound(
    config: SoundConfig, folder: Path, *, progress: Progress = lambda what, done, total: None
) -> list[TrainedSound]:
    """Train, or go on with a training that was interrupted; with `leave_out = "all"` once for each speaker.

    Args:
        config: see `SoundConfig`.
        folder: gets model.pt2, checkpoint.pt, log.jsonl, config.json, answers.json and curves.html; of folds each in
            a folder with the speaker's name.
        progress: called with what, steps done, steps in all.

    Raises:
        InputError: the data or the configuration cannot be used, or the folder belongs to another training.
        CheckFailed: the loss is not a number.
        DeviceError: the folder cannot be written.
    """
    if config.leave_out != "all":
        return [_single(config, folder, progress)]
    found = []
    for speaker in speakers(Path(config.data)):
        _log.info("fold %s", speaker)
        found.append(_single(fold_of(config, speaker), _fold(folder, speaker), progress))
    return found


def _fold(folder: Path, speaker: str) -> Path:
    """The folder of a speaker's fold; a file of the data named the speaker."""
    if not is_plain_name(speaker) or "/" in speaker:
        raise InputError(f"the speaker {speaker[:80]!r} cannot name a folder: rename its clips")
    refuse_special(folder, speaker)
    return folder / speaker


@into_folder("folder", CONFIG)
def _single(config: SoundConfig, folder: Path, progress: Progress) -> TrainedSound:
    data = read_sound(config)
    _log.info("%s", data.described)
    spec = audio_spec(config, data.train)
    network = sound_network(config, spec, len(data.labels))
    for name in (MODEL, CONFIG, PAGE, ANSWERS):
        clear_partials(folder / name)
    trainer = SoundTrainer(network, data, SoundPath(spec), folder, config)
    if 0 < trainer.step < trainer.steps:
        _log.info("going on at step %d of %d", trainer.step, trainer.steps)
    write_bytes(folder / CONFIG, config.to_json())
    epochs = trainer.run(progress)
    answers = trainer.answers()
    hits, n = int((answers == data.test.targets).sum()), len(answers)
    count = sum(p.numel() for p in network.parameters())
    _write(config, folder, data, spec, network, answers)
    page = accuracy_page(
        title=f"Training on sound, {spec.features}",
        epochs=epochs,
        how=f"{data.described}; {described(config)}. {count:,} weights, {epochs[-1].epoch} epochs, "
        f"{epochs[-1].seconds / 60:.0f} minutes.",
        configuration=[(name, str(value)) for name, value in json.loads(config.to_json()).items()],
    )
    write_bytes(folder / PAGE, page.encode())
    return TrainedSound(folder, hits, n, count, spec, tuple(epochs), data.described)


def described(config: SoundConfig) -> str:
    """What the network hears, in words."""
    codec = "as they are" if config.codec == "none" else f"through {config.codec}"
    read = ""
    if config.codec.startswith("vq:"):
        order = "along a tour, Gray-coded" if config.order == "tour" else "in k-means' order"
        read = f", {config.input}, words {order}"
    layer = "" if config.first_layer == "float" else f", {config.first_layer} first layer"
    return f"{config.features} of clips {codec}{read}{layer}"


def audio_spec(config: SoundConfig, clips: Clips) -> AudioInput:
    """What the network hears; a codebook is made from the training clips (from the same ones and seed, the same)."""
    spec = AudioInput(config.rate, config.samples, config.features)
    if not config.codec.startswith("vq:"):
        return replace(spec, codec=config.codec)
    path = SoundPath(spec)
    blocks = [blocks_of(path.levels(path.placed(samples)[0])[..., 0]) for samples in clips.samples]
    book = fit_codebook(np.concatenate(blocks), int(config.codec[3:]), order=config.order, seed=config.seed)
    return replace(spec, codec=config.codec, reads=config.input, codebook=book)


def sound_network(config: SoundConfig, spec: AudioInput, classes: int) -> nn.Module:
    """The network with fresh weights."""
    torch.manual_seed(config.seed)
    network = SoundNet(spec.shape, classes, width=config.width, dropout=config.dropout)
    restrict_first_layer(network, config.first_layer)
    return network


def _write(
    config: SoundConfig, folder: Path, data: SoundData, spec: AudioInput, network: nn.Module, answers: NDArray[np.int64]
) -> None:
    """The program with what `convert` needs to know, and the answer to each test clip for paired comparisons."""
    rows, columns, planes = spec.shape
    facts = {
        "preprocess": {"mean": [CENTER] * 3, "std": [UNIT] * 3},
        "labels": data.labels,
        "size": [columns, rows],
        "audio": spec.to_dict(),
        "trained": {"how": described(config), "clips": data.described},
        "training_data_sha256": data_root(data.digests),
        "training_config_sha256": config.sha256,
    }
    plain = with_plain_weights(copy.deepcopy(network).eval())
    write_program(plain, folder / MODEL, example=torch.zeros(2, planes, rows, columns), facts=facts)
    found = {
        "names": data.test.names, "targets": data.test.targets.tolist(), "answers": answers.tolist(),
    }  # fmt: skip
    write_bytes(folder / ANSWERS, json.dumps(found).encode())
