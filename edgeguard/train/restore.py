"""A trained model from its folder, for whoever measures it."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from edgeguard.errors import InputError
from edgeguard.train.checkpoint import CONFIG, MODEL, NAME
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.config import DataConfig, TrainConfig, read_saved
from edgeguard.train.data import Part, read_dataset
from edgeguard.train.ensemble import Vote, member_configs
from edgeguard.train.export import program_facts
from edgeguard.train.layers import in_layout
from edgeguard.train.networks import network
from edgeguard.train.tensors import load_tensors
from edgeguard.train.weight_quantization import restrict_first_layer


@dataclass(frozen=True, eq=False)
class Restored:
    """A finished training.

    Attributes:
        name: of its folder.
        config: it was trained with.
        labels: class names.
        network: the averaged weights, in evaluation mode.
        sha256: of the weights.
    """

    name: str
    config: TrainConfig
    labels: tuple[str, ...]
    network: nn.Module
    sha256: str

    @property
    def how(self) -> str:
        """How it was trained, in words."""
        config = self.config
        steps = f", {config.steps} steps" if config.steps > 1 else ""
        attacked = "" if config.method == "none" else f", attacked ({config.method}{steps}, {config.eps_8bit:g} levels)"
        codecs = ", ".join(config.ensemble) or config.codec
        through = "as they are" if codecs == "none" else f"through {codecs}"
        through += ", a network each, voting" if config.ensemble else ""
        return f"{config.network}, width {config.width}, {config.epochs} epochs, images {through}{attacked}"


def restored(folder: Path) -> Restored:
    """Read a folder that `edgeguard train` wrote.

    Raises:
        InputError: it holds no training of a network of ours, or one of another version.
    """
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} holds no training: {CONFIG} is not there")
    try:
        config = read_saved(folder / CONFIG)
        _, labels = program_facts(folder / MODEL)
        module = _averaged(folder, config, len(labels))
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{folder} holds no training that can be read: {type(error).__name__} {reason}") from error
    module = in_layout(module.eval(), torch.channels_last)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    total = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        total.update(name.encode() + value.numpy().tobytes())
    return Restored(folder.resolve().name, config, labels, module, total.hexdigest())


def _averaged(folder: Path, config: TrainConfig, classes: int) -> nn.Module:
    """The network of a run with its averaged weights, or the members of an ensemble, voting."""
    if config.ensemble:
        return Vote([_averaged(place, mine, classes) for mine, place in member_configs(config, folder)])
    profile = TrainingCodec(config.codec, config.codec_share).profile
    module = network(config.network, classes, config.width, config.size, profile, (config.field, config.stride))
    restrict_first_layer(module, config.first_layer)
    module.load_state_dict(load_tensors(folder / NAME)["average"])
    return module


def balanced_test_part(config: TrainConfig, data: str, images: int) -> tuple[Part, tuple[str, ...], str]:
    """The test images of a dataset, classes balanced; the classes' names; and what the images are."""
    wanted = replace(config.part(DataConfig), data=data, limit=images, keep="pixels")
    found = read_dataset(wanted, size=config.size, seed=config.seed)
    return (
        found.test,
        found.labels,
        f"{len(found.test)} test images of {len(found.labels)} classes, {found.test.coding}",
    )
