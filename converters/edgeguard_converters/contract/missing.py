"""What a model's file does not say and the flags do not either: all of it in one message, before the work begins."""

from dataclasses import dataclass

from edgeguard.errors import InputError
from edgeguard_converters.graph.normalization import explained_presets
from edgeguard_converters.load.refused import ArchitectureMissing, SizeMissing
from edgeguard_converters.options import Options


@dataclass(frozen=True)
class _Lack:
    flag: str
    why: str
    example: str


_SIZE = _Lack("--size N or WxH", "it does not say the size of its input", "--size 224")
_CALIBRATE = _Lack(
    "--calibrate FOLDER with pictures like your camera's, or --preprocess imagenet|tf|unit|none",
    f"it does not say its preprocessing ({explained_presets()})",
    "--calibrate photos/",
)


def refuse_if_lacking(
    name: str, size: tuple[int, int] | None, options: Options, *, preprocessing: bool, stand_in: bool
) -> None:
    """Say everything that is missing at once.

    Args:
        name: of the model, for the message.
        size: width and height that the file says.
        options: of the user.
        preprocessing: the file says mean and standard deviation.
        stand_in: there are no calibration images of the user's own.

    Raises:
        InputError: something is missing; the message names each flag, and ends in flags to add to what was typed.
    """
    lacks = []
    if options.size is None and size is None:
        lacks.append(_SIZE)
    if _preprocessing_unknown(options, stand_in=stand_in) and not preprocessing:
        lacks.append(_CALIBRATE)
    if lacks:
        raise InputError(_message(name, "", lacks))


def with_the_rest(error: InputError, name: str, options: Options, *, stand_in: bool) -> InputError:
    """A loader's complaint that something is missing, with whatever else is missing then."""
    lacks = []
    if isinstance(error, ArchitectureMissing):
        lacks.append(_Lack("", "", "--arch your_module:make_network"))
        if options.size is None:
            lacks.append(_SIZE)
    elif isinstance(error, SizeMissing):
        lacks.append(_Lack("", "", "--size 224"))
    if _preprocessing_unknown(options, stand_in=stand_in):
        lacks.append(_CALIBRATE)
    if len(lacks) > 1 or lacks[:1] == [_SIZE]:
        return type(error)(_message(name, str(error), lacks))
    return error


def _preprocessing_unknown(options: Options, *, stand_in: bool) -> bool:
    return stand_in and options.preprocess == "auto" and options.mean is None and options.std is None


def _message(name: str, first: str, lacks: list[_Lack]) -> str:
    """One line; it ends in what to add, not in a whole command, which would lose flags that were given already."""
    reasons = [first] if first else []
    reasons += [f"{lack.why}: give {lack.flag}" for lack in lacks if lack.flag]
    example = " ".join(lack.example for lack in lacks)
    return ("" if first else f"{name}: ") + f"{'; '.join(reasons)}. Add to your command, for example: {example}"
