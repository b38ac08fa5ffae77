"""The network that a state_dict belongs to: found by its names and shapes, or named by `--arch`."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from edgeguard.errors import InputError
from edgeguard.system.extras import how_to_install
from edgeguard_converters.load.containers import below_prefix, without_prefixes
from edgeguard_converters.load.refused import ArchitectureMissing
from edgeguard_converters.load.torchvision_operators import make_torchvision_importable
from edgeguard_converters.load.zoo.index import Known, known_architectures, same_names

Shapes = Mapping[str, tuple[int, ...]]
_HELP = "--arch torchvision:NAME, timm:NAME or module:factory"


@dataclass(frozen=True, eq=False)
class Architecture:
    """A network for a state_dict.

    Attributes:
        name: `torchvision:mobilenet_v2`.
        module: the network, its weights not yet loaded.
        names: of the file's tensors, by the names that the network has for them.
        said: lines for the user.
    """

    name: str
    module: torch.nn.Module
    names: dict[str, str]
    said: tuple[str, ...]


def identified(shapes: Shapes, file: str, hint: str | None = None) -> Architecture:
    """Find the network of a state_dict (`--arch auto`).

    Args:
        shapes: of the tensors by their names.
        file: its name, for messages.
        hint: the name of a network, from the checkpoint itself.

    Raises:
        InputError: none is known that fits, or several fit that do not compute the same.
    """
    for names, said in _namings(shapes):
        found = known_architectures({short: shapes[name] for name, short in names.items()})
        if found:
            chosen, more = _chosen(found, file, hint)
            library, _, model = chosen.name.partition(":")
            line = f"{file}: the weights are {library} {model}'s, {chosen.classes} classes"
            made = build(chosen.name, chosen.classes)
            return Architecture(chosen.name, made, {s: n for n, s in names.items()}, (*said, line, *more))
    raise ArchitectureMissing(_unknown(shapes, file))


def named(arch: str, shapes: Shapes) -> Architecture:
    """The network `torchvision:NAME` or `timm:NAME`, with as many classes as the state_dict has.

    Raises:
        InputError: the library has no such network, or the tensors are others.
    """
    with torch.device("meta"):
        try:
            usual = _shapes(build(arch, None))
        except (NotImplementedError, RuntimeError):  # a constructor that reads its tensors
            usual = None
    if usual is None:
        usual = _shapes(build(arch, None))
    nearest = ""
    for names, said in _namings(shapes):
        found = {short: shapes[name] for name, short in names.items() if not _is_counter(short)}
        wanted = {name: shape for name, shape in usual.items() if not _is_counter(name)}
        if found.keys() != wanted.keys():
            nearest = nearest or _difference(found, wanted)
            continue
        sides = {found[name][0] for name in found if found[name] != wanted[name] and found[name]}
        if len(sides) > 1 or any(found[name][1:] != wanted[name][1:] for name in found):
            other = next(name for name in found if found[name][1:] != wanted[name][1:] or len(sides) > 1)
            nearest = f"{other} is {_text(found[other])} in the file and {_text(wanted[other])} in the network"
            continue
        classes = next(iter(sides), None)
        library, _, model = arch.partition(":")
        line = f"the weights fit {library} {model}" + ("" if classes is None else f", {classes} classes")
        return Architecture(arch, build(arch, classes), {s: n for n, s in names.items()}, (*said, line))
    raise InputError(f"the weights do not fit {arch}: {nearest}")


def build(arch: str, classes: int | None) -> torch.nn.Module:
    """A network of torchvision or timm without trained weights; nothing is fetched.

    Raises:
        InputError: the library is not installed, or has no such network.
    """
    library, _, name = arch.partition(":")
    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    try:
        make_torchvision_importable()
        if library == "timm":
            import timm

            known, make = timm.list_models(), _timm
        else:
            import torchvision

            known, make = torchvision.models.list_models(module=torchvision.models), _torchvision
    except ImportError as error:
        raise InputError(f"--arch {arch} needs {error.name}: {how_to_install('zoo')}") from error
    if name not in known:
        raise InputError(f"--arch {arch}: {library} has no classifier of this name")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(name, options).eval()


def _torchvision(name: str, options: dict[str, Any]) -> torch.nn.Module:
    import torchvision

    if name in ("googlenet", "inception_v3"):
        options = {**options, "init_weights": False}
    made: torch.nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return made


def _timm(name: str, options: dict[str, Any]) -> torch.nn.Module:
    import timm

    made: torch.nn.Module = timm.create_model(name, pretrained=False, **options)
    return made


def _namings(shapes: Shapes) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Ways to read the names: as they are, without wrappers' prefixes, and the part below a prefix."""
    names = list(shapes)
    yield {name: name for name in names}, []
    short, said = without_prefixes(names)
    if said:
        yield short, said
    for prefix, part in below_prefix(names):
        left = [name for name in names if name not in part]
        shorter, more = without_prefixes([*part.values()])
        kept = {name: shorter[inner] for name, inner in part.items()}
        line = f"the weights below {prefix!r} are taken; {len(left)} others are left behind ({', '.join(left[:3])})"
        yield kept, [line, *more]


def _chosen(found: list[Known], file: str, hint: str | None) -> tuple[Known, list[str]]:
    """The network that is meant of those that fit.

    Those that compute the same are one. Of others the one that the checkpoint names is meant, else torchvision's, which
    a variant of timm's without weights of its own (another pooling) fits too; else the user has to say.
    """
    hinted = [known for known in found if known.name.partition(":")[2] == hint]
    ours = [known for known in found if known.name.startswith("torchvision:")]
    meant = hinted or ours or found
    said = []
    others = [known.name for known in found if known.function not in {m.function for m in meant}]
    if others and not hinted:
        said.append(f"{', '.join(others[:3])} WOULD FIT TOO and compute otherwise: if it is one of them, say --arch")
    found = [known for known in found if known.function in {m.function for m in meant}]
    if len({known.function for known in found}) > 1:
        shown = ", ".join(known.name for known in found[:8])
        raise InputError(
            f"{file}: the weights fit {len(found)} networks that do not compute the same ({shown}): say which with "
            f"--arch, such as --arch {found[0].name}"
        )
    first = min(found, key=lambda known: (known.name.startswith("timm"), len(known.name), known.name))
    if hinted:
        first = min(hinted, key=lambda known: known.name.startswith("timm"))
        said.append(f"the checkpoint itself says {hint}")
    same = [known.name for known in found if known is not first]
    return first, [*said, *([f"{', '.join(same[:3])} would compute the same"] if same else [])]


def _unknown(shapes: Shapes, file: str) -> str:
    for names, _ in _namings(shapes):
        alike = same_names([*names.values()])
        if alike:
            return (
                f"{file} holds weights only: their names are those of {', '.join(alike[:3])}, their shapes are not; "
                f"give the network with {_HELP}"
            )
    return f"{file} holds weights only (a state_dict), of no network that is known here: give {_HELP}"


def _difference(found: Shapes, wanted: Shapes) -> str:
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    parts = [f"the file lacks {missing[0]}"] if missing else []
    parts += [f"the network has no {extra[0]}"] if extra else []
    return f"{' and '.join(parts)} ({len(missing)} missing, {len(extra)} too many)"


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one number"
