"""The converter as one typed call, for notebooks and scripts."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.images import LabeledImage, read_folder
from edgeguard.dct.profile import GuardProfile, resolve_profile
from edgeguard.errors import InputError
from edgeguard_converters import defaults, pipeline
from edgeguard_converters.load.source import FileFacts, Source
from edgeguard_converters.options import Conversion, Options

Images = str | Path | Sequence[LabeledImage] | Sequence[NDArray[np.uint8]]


def convert(
    model: Any,
    sample_or_size: Any = None,
    *,
    output: str | Path,
    calibration: Images,
    evaluation: Images | None = None,
    training: Images | None = None,
    profile: GuardProfile | str | None = defaults.GUARD,
    options: Options | None = None,
    report: str | Path | None = None,
    **changes: Any,
) -> Conversion:
    """Convert a trained model to a .tflite that carries its defence.

    Args:
        model: a path (see `registry.load_source`), or a torch module in memory.
        sample_or_size: an example input (1, 3, h, w), a side N, or (width, height); None where the file knows.
        output: where the .tflite goes.
        calibration: a folder of images, or RGB frames (h, w, 3) of uint8.
        evaluation: a folder with labels.csv or class folders, or frames; without it every fourth calibration image.
        training: labelled images to fine-tune with if the gates fail.
        profile: a GuardProfile, what `--guard` takes, or None.
        options: the rest of what can be said; single fields of it may be given by name (`place="input"`).
        report: write the report here (.html or .json).

    Returns:
        What was written and measured. Its `notes` are what you have to know; they are logged as warnings too.

    Raises:
        InputError: something given cannot be used.
        CheckFailed: a gate or check failed; nothing was written.

    Example:
        >>> convert(model, 224, output="m.tflite", calibration="photos/")  # doctest: +SKIP
    """
    guard = profile if isinstance(profile, GuardProfile) else None if profile is None else resolve_profile(profile)
    chosen = replace(options or Options(), guard=guard, **changes)
    if guard is None:
        chosen = replace(chosen, place="none")
    size = _size(sample_or_size)
    source: str | Path | Source
    if isinstance(model, (str, Path)):
        source, chosen = model, replace(chosen, size=size or chosen.size)
    else:
        source = _from_module(model, size or chosen.size)

    def labeled(given: Images | None) -> list[LabeledImage] | Path | None:
        return Path(given) if isinstance(given, (str, Path)) else None if given is None else _images(given, read_folder)

    return pipeline.convert(
        source,
        output,
        _images(calibration, read_folder),
        labeled(evaluation),
        chosen,
        report_path=report,
        training=labeled(training),
    )


def _size(sample_or_size: Any) -> tuple[int, int] | None:
    if sample_or_size is None:
        return None
    if isinstance(sample_or_size, int):
        return sample_or_size, sample_or_size
    shape = getattr(sample_or_size, "shape", None)
    if shape is not None:
        if len(shape) != 4 or shape[1] not in (1, 3):
            raise InputError(f"the sample is not an image batch (1, 3, h, w): shape {tuple(shape)}")
        return int(shape[3]), int(shape[2])
    width, height = sample_or_size
    return int(width), int(height)


def _from_module(model: Any, size: tuple[int, int] | None) -> Source:
    import torch

    from edgeguard_converters.load.source import facts_from_json
    from edgeguard_converters.load.torch_source import TorchSource

    if not isinstance(model, torch.nn.Module):
        raise InputError(f"the model is neither a path nor a torch module, but a {type(model).__name__}")
    config = getattr(model, "pretrained_cfg", None)
    facts = facts_from_json({"pretrained_cfg": config}, "pretrained_cfg") if isinstance(config, dict) else FileFacts()
    return TorchSource("module", size or facts.size, facts, model.eval())


def _images(given: Images, read: Callable[[Path], list[LabeledImage]]) -> list[LabeledImage]:
    if isinstance(given, (str, Path)):
        return read(Path(given))
    return [
        image if isinstance(image, LabeledImage) else LabeledImage(f"frame-{i}", np.ascontiguousarray(image))
        for i, image in enumerate(given)
    ]
