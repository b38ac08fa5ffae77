"""`edgeguard train`: data in, a program for `convert`, a log and curves out."""

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError
from edgeguard.patchguard.double_masking import MaskSet
from edgeguard.statistics import wilson
from edgeguard.system.files import write_bytes
from edgeguard.system.leftovers import clear_partials
from edgeguard.system.names import folder_inside
from edgeguard.system.outputs import output_folder
from edgeguard.train.checkpoint import CONFIG, MODEL
from edgeguard.train.checkpoint import NAME as CHECKPOINT
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.codec_kind import codec_kind
from edgeguard.train.config import (
    AdversarialConfig,
    AugmentConfig,
    CodecConfig,
    DataConfig,
    PatchConfig,
    ScheduleConfig,
    SmoothingConfig,
    TrainConfig,
)
from edgeguard.train.curves import curves_page
from edgeguard.train.data import Dataset, read_dataset, training_entries
from edgeguard.train.ensemble import MEMBER, Vote, member_configs
from edgeguard.train.export import load_program, save_program
from edgeguard.train.log import Epoch, read_log
from edgeguard.train.loop import Trainer, accuracy
from edgeguard.train.networks import REGIONS, network
from edgeguard.train.pace import config_within, few_steps, guessing_line, within_line
from edgeguard.train.resumable import Progress
from edgeguard.train.robust import check_robust
from edgeguard.train.smoothing import check_smoothing
from edgeguard.train.teacher import load_teacher
from edgeguard.train.tensors import load_tensors
from edgeguard.train.weight_quantization import restrict_first_layer
from edgeguard_converters.training_data.merkle import data_root, digest_of

_log = logging.getLogger(__name__)

PAGE = "curves.html"


@dataclass(frozen=True)
class Trained:
    """What a training ended with."""

    model: Path
    weights: int
    epochs: tuple[Epoch, ...]
    source: str  # what the images are, for whoever quotes a figure


def train(
    config: TrainConfig,
    folder: Path,
    *,
    minutes: float | None = None,
    choose_batch: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Trained:
    """Train, or go on with a training that was interrupted.

    Args:
        config: see `TrainConfig`.
        folder: gets model.pt2 (averaged weights), checkpoint.pt, log.jsonl, config.json and curves.html.
        minutes: as many epochs as fit into this time here, instead of the configuration's; a folder that was begun
            keeps its number.
        choose_batch: with `minutes`: where the configuration's batch would make few steps, a small batch and its
            learning rate are taken instead.
        progress: called with what, steps done, steps in all.

    Raises:
        InputError: the data or the configuration cannot be used, or the folder belongs to another training.
        CheckFailed: the loss is not a number.
        DeviceError: the folder cannot be written.

    Example:
        >>> train(TrainConfig(data="photos/", epochs=3), Path("out"))  # doctest: +SKIP
    """
    check_smoothing(config)
    check_robust(config)
    with output_folder(folder, CONFIG, f"{MEMBER.format('*')}/{CONFIG}", MEMBER.format("*")):
        _check_regions(config)
        dataset = read_dataset(config.part(DataConfig), size=config.size, seed=config.seed)
        source = described(dataset)
        _log.info("%s", source)
        if dataset.poison is not None:
            _log.warning("POISONED TRAINING DATA: %s; the model will say so", dataset.poison)
            source = f"{source}; POISONED: {dataset.poison}"
        if minutes is not None:
            wanted = config
            config = config_within(
                config, minutes, folder, lambda one, place: _new_trainer(one, dataset, place), choose_batch=choose_batch
            )
            _log.info("%s", within_line(minutes, wanted, config, len(dataset.train)))
        if (few := few_steps(config, len(dataset.train), minutes)) is not None:
            _log.warning("%s", few)
        origin = {"training_data_sha256": root_of(config, dataset), "training_config_sha256": config.sha256}
        run = _ensemble if config.ensemble else _single
        trained = run(config, folder, dataset, source, origin, progress)
        if (line := guessing_line(trained.epochs[-1], len(dataset.labels), config.batch)) is not None:
            _log.warning("%s", line)
        return trained


def _check_regions(config: TrainConfig) -> None:
    """Refuse what would be ignored by the loss of a proven margin.

    Raises:
        InputError: naming it.
    """
    if config.network != REGIONS:
        return
    for given, what in (
        (config.ensemble, "ensemble: several networks that vote prove nothing together"),
        (config.method != "none", f"--adversarial {config.method}: its loss is that of the proven margin"),
        (config.mixup, "mixup: a mixed picture has no label that could be proven"),
        (config.label_smoothing, "label_smoothing: its loss is that of the proven margin"),
    ):
        if given:
            raise InputError(f"{REGIONS} is trained without {what}")


def root_of(config: TrainConfig, dataset: Dataset) -> str:
    """The Merkle root of the images that a training is given, whatever of them its limits leave.

    It is the root of `edgeguard data manifest` of the same folder, unless files are overlaid. Files that are left out
    do not count.
    """
    given = training_entries(Path(config.data), config.overlay, config.exclude)
    known = dataset.digests
    return data_root({entry.name: known.get(entry.name) or digest_of(entry) for entry in given})


def _single(
    config: TrainConfig, folder: Path, dataset: Dataset, source: str, origin: dict[str, str], progress: Progress
) -> Trained:
    trainer = _trained(config, folder, dataset, progress)
    epochs = read_log(folder)
    network_ = trainer.average
    save_program(
        network_,
        folder / MODEL,
        size=config.size,
        patch_px=config.patch_px if config.network == REGIONS else None,
        labels=dataset.labels,
        profile=_profile(config),
        trained=_facts(config, source),
        origin=origin,
    )
    count = sum(p.numel() for p in network_.parameters())
    write_bytes(folder / PAGE, curves_page(config, epochs, source, count).encode())
    return Trained(folder / MODEL, count, tuple(epochs), source)


def _ensemble(
    config: TrainConfig, folder: Path, dataset: Dataset, source: str, origin: dict[str, str], progress: Progress
) -> Trained:
    """Every member in a folder of its own, then the vote; the last epoch told of is the vote's."""
    write_bytes(folder / CONFIG, _json(config))
    members = []
    for mine, place in member_configs(config, folder):
        folder_inside(folder, place.name)
        _log.info("%s: %s", place.name, mine.codec)
        _single(mine, place, dataset, source, origin, progress)
        members.append(_trained(mine, place, dataset, progress).average)
    vote = Vote(members)
    codec = TrainingCodec(config.codec, config.codec_share)
    hits, n = accuracy(vote, dataset.test, codec, size=config.size, seed=config.seed)
    low, high = wilson(hits, n)
    last = read_log(folder / MEMBER.format(len(members) - 1))[-1]
    epoch = replace(last, test_accuracy=round(hits / n, 5), test_low=round(low, 5), test_high=round(high, 5))
    facts = _facts(config, source)
    save_program(
        vote,
        folder / MODEL,
        size=config.size,
        labels=dataset.labels,
        profile=_profile(config),
        trained=facts,
        origin=origin,
    )
    return Trained(folder / MODEL, sum(p.numel() for p in vote.parameters()), (epoch,), source)


def _trained(config: TrainConfig, folder: Path, dataset: Dataset, progress: Progress) -> Trainer:
    for name in (CHECKPOINT, MODEL, PAGE, CONFIG):
        clear_partials(folder / name)
    trainer = _new_trainer(config, dataset, folder)
    if 0 < trainer.step < trainer.steps:
        _log.info("going on at step %d of %d", trainer.step, trainer.steps)
    write_bytes(folder / CONFIG, _json(config))
    trainer.run(progress)
    return trainer


def _new_trainer(config: TrainConfig, dataset: Dataset, folder: Path) -> Trainer:
    torch.manual_seed(config.seed)
    module, frozen = _network(config, dataset.labels)
    return trainer_of(config, module, dataset, folder, frozen_statistics=frozen)


def trainer_of(
    config: TrainConfig, module: nn.Module, dataset: Dataset, folder: Path, *, frozen_statistics: bool = False
) -> Trainer:
    """What trains a network as a configuration says; see `Trainer`."""
    teacher = None
    if config.teacher is not None:
        teacher = load_teacher(Path(config.teacher), dataset.labels, size=config.size, share=config.teacher_share)
    return Trainer(
        module,
        dataset,
        folder,
        size=config.size,
        schedule=config.part(ScheduleConfig),
        augment=config.part(AugmentConfig),
        codec=config.part(CodecConfig),
        adversarial=config.part(AdversarialConfig),
        smoothing=config.part(SmoothingConfig),
        config_sha256=config.sha256,
        teacher=teacher,
        frozen_statistics=frozen_statistics,
        patch=config.part(PatchConfig) if config.network == REGIONS else None,
        masks=_masks(config),
    )


def _masks(config: TrainConfig) -> tuple[MaskSet, MaskSet] | None:
    if config.masks == "none":
        return None
    if config.method != "none":
        raise InputError(f"masks = {config.masks} is for training without an attack: leave out one of them")
    from edgeguard.train.certified.masks import mask_sets  # not on a board

    return mask_sets(config.size, config.patch_px)


def _json(config: TrainConfig) -> bytes:
    return (json.dumps(asdict(config), indent=1) + "\n").encode()


def _facts(config: TrainConfig, source: str) -> dict[str, object]:
    facts = {"codec": config.codec, "codec_share": config.codec_share, "method": config.method, "images": source}
    if config.first_layer != "float":
        facts["first_layer"] = config.first_layer
    if config.smoothing != "none":
        facts |= {"smoothing": config.smoothing, "sigma": config.sigma}
    return {**facts, **({"ensemble": list(config.ensemble)} if config.ensemble else {})}


def _profile(config: TrainConfig) -> GuardProfile | None:
    """The one profile that every image went through, here or before."""
    if config.applied is not None:
        return codec_kind(config.applied).profile
    return None if config.ensemble else TrainingCodec(config.codec, config.codec_share).profile


def described(dataset: Dataset) -> str:
    """What the images are: counts, classes, and which JPEG quality they come with."""
    return (
        f"{len(dataset.train)} training and {len(dataset.test)} test images of {len(dataset.labels)} classes, "
        f"{dataset.train.coding}"
    )


def _network(config: TrainConfig, labels: tuple[str, ...]) -> tuple[nn.Module, bool]:
    """The network to train, and whether its batch statistics are frozen."""
    if config.network.endswith(".pt2"):
        if config.first_layer != "float":
            raise InputError(f"first_layer = {config.first_layer} needs a network of ours, not a program")
        module, facts = load_program(Path(config.network), config.size)
        theirs = facts.get("labels")
        if theirs is not None and not isinstance(theirs, list):
            raise InputError(
                f"{config.network} says that its labels are {str(theirs)[:80]!r}, which is no list of names"
            )
        if theirs is not None and tuple(theirs) != labels:
            raise InputError(
                f"{config.network} has other labels than the data: {', '.join(map(str, theirs[:4]))}... against "
                f"{', '.join(labels[:4])}..."
            )
        _check_outputs(module, config, len(labels))
        for parameter in module.parameters():
            parameter.requires_grad_(True)
        return module, True
    profile = TrainingCodec(config.codec, config.codec_share).profile
    module = network(config.network, len(labels), config.width, config.size, profile, (config.field, config.stride))
    if config.start is not None:
        try:
            module.load_state_dict(load_tensors(Path(config.start)))
        except InputError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"{config.start} is no state_dict of {config.network}: {reason}") from error
    restrict_first_layer(module, config.first_layer)
    return module, False


def _check_outputs(module: nn.Module, config: TrainConfig, classes: int) -> None:
    """One picture, then two: programs that were exported for a batch of one cannot be trained in batches."""
    out = None
    for count in (1, 2):
        try:
            out = module(torch.zeros(count, 3, config.size, config.size))
        except Exception as error:
            reason = (
                f"does not take a picture of {config.size} pixels: set size"
                if count == 1
                else "was exported for one picture at a time: export it with a dynamic batch"
            )
            raise InputError(f"{config.network} {reason}") from error
    while isinstance(out, (tuple, list)) and len(out) == 1:
        (out,) = out
    if not isinstance(out, torch.Tensor) or out.shape != (2, classes) or not out.is_floating_point():
        raise InputError(f"{config.network} has other outputs than the data's {classes} classes")
