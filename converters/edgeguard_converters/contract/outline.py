"""The part of a contract that can be said before the model runs."""

from dataclasses import replace

from edgeguard.errors import InputError
from edgeguard.model.contract import Contract, ContractGuard, InputSpec, Preprocess, check_coefficient_input
from edgeguard_converters.contract.crop import CropChoice
from edgeguard_converters.load.source import FileFacts
from edgeguard_converters.notes import Notes
from edgeguard_converters.options import Options

_FIXED = ("torch.export", "TFLite")  # kinds of files that hold one input size


def outline_contract(
    facts: FileFacts, options: Options, crop: CropChoice, notes: Notes, *, size: tuple[int, int] | None, kind: str
) -> Contract:
    """What can be said before the model runs: size, crop and guard.

    Args:
        facts: what the file says.
        options: of the user.
        crop: that was chosen.
        notes: gets a line where the model learned with another profile.
        size: width and height that the file says.
        kind: of the file, as `Source.kind` has it.

    Raises:
        InputError: it hears sound, no size, one that the file does not allow, or a profile that a coefficient model did
            not learn with.
    """
    if facts.audio is not None:
        raise InputError("the model hears sound: give clips, not pictures (edgeguard_converters.sound.convert)")
    chosen = options.size or size
    if chosen is None:
        raise InputError("the model holds no input size: give --size N or WxH")
    if size is not None and options.size not in (None, size) and kind in _FIXED:
        raise InputError(f"the file fixes the input at {size[0]}x{size[1]}; leave --size out")
    guarded = options.guard is not None and options.place != "none"
    guard = replace(
        ContractGuard(options.guard, options.place) if guarded else ContractGuard(), patch=options.patch_guard
    )
    _compare_profiles(facts, guard, notes)
    contract = Contract(
        input=InputSpec(width=chosen[0], height=chosen[1], dtype=options.input_type, color=facts.color),
        preprocess=Preprocess(crop=crop.crop, crop_fraction=crop.fraction),
        guard=guard,
        trained_on_profile=facts.trained_on_profile,
    )
    check_coefficient_input(contract)
    return contract


def _compare_profiles(facts: FileFacts, guard: ContractGuard, notes: Notes) -> None:
    """Warn when the model saw another profile in training (a name or a hash) than it will see now; refuse it
    where the model reads the profile's own indices."""
    trained_on = facts.trained_on_profile
    names = {"none"} if guard.profile is None else {guard.profile.name, guard.profile.sha256}
    if trained_on is not None and trained_on not in names:
        wanted = "none" if guard.profile is None else guard.profile.name
        if facts.color == "DCT":
            raise InputError(
                f"a coefficient model reads the indices of the profile that it learned with ({trained_on[:24]}), the "
                f"guard asked for is {wanted}: give --guard that profile"
            )
        notes.add(
            f"TRAINED ON ANOTHER PROFILE: the model learned with {trained_on[:24]}, the guard asked for is {wanted}; "
            "expect a loss of accuracy, or give the profile that it learned with"
        )
