"""A trained classifier of sound from its folder, for whoever measures it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from edgeguard.audio.spec import AudioInput, audio_input
from edgeguard.audio_training.config import SoundConfig, read_saved
from edgeguard.audio_training.run import CONFIG, MODEL, described, sound_network
from edgeguard.errors import InputError
from edgeguard.train.checkpoint import NAME
from edgeguard.train.export import program_facts
from edgeguard.train.tensors import load_tensors


@dataclass(frozen=True, eq=False)
class RestoredSound:
    """A finished training on sound.

    Attributes:
        name: of its folder.
        config: it was trained with.
        spec: what it hears.
        labels: class names.
        network: in evaluation mode, its parameters fixed.
        sha256: of the weights.
    """

    name: str
    config: SoundConfig
    spec: AudioInput
    labels: tuple[str, ...]
    network: nn.Module
    sha256: str

    @property
    def how(self) -> str:
        """How it was trained, in words."""
        return described(self.config)


def restored_sound(folder: Path) -> RestoredSound:
    """Read a folder that `edgeguard train --task audio` wrote.

    Raises:
        InputError: it holds no finished training on sound.
    """
    if not (folder / CONFIG).is_file() or not (folder / MODEL).is_file():
        raise InputError(f"{folder} holds no finished training on sound")
    try:
        config = read_saved(folder / CONFIG)
        facts, labels = program_facts(folder / MODEL)
        spec = audio_input(facts["audio"])
        network = sound_network(config, spec, len(labels))
        network.load_state_dict(load_tensors(folder / NAME)["weights"])
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{folder} holds no training that can be read: {type(error).__name__} {reason}") from error
    network.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    total = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        total.update(name.encode() + value.numpy().tobytes())
    return RestoredSound(folder.resolve().name, config, spec, labels, network, total.hexdigest())
