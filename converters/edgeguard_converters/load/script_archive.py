"""A TorchScript archive, written anew from members that were checked."""

import io
import re

from edgeguard.errors import InputError
from edgeguard_converters.load.archive import fresh_archive
from edgeguard_converters.load.checkpoint import check_storages
from edgeguard_converters.load.pickle_words import check_pickle, is_tensor_name
from edgeguard_converters.load.refused import PickleRefused
from edgeguard_converters.load.script_source import fresh_sources

_SOURCE = re.compile(r"code/(__torch__)(/\w+)*\.py")
_STORAGE = re.compile(r"(data|constants)/\d{1,9}")
_LEFT_BEHIND = re.compile(
    r"(.*\.debug_pkl|extra/.*|\.data/.*|bytecode\.pkl|traced_inputs(\.pkl|/.*)|mobile_\w+\.pkl|model\.json)"
)
_NAMES = re.compile(
    r"__torch__(?!\.torch\.classes\b)(\.\w+)* \w+"
    r"|torch\.jit\._pickle (build_(int|double|bool|tensor)list|restore_type_tag)"
)


def fresh_script(members: dict[str, bytes], name: str) -> io.BytesIO:
    """The archive that torch loads, made of the members of a stranger's.

    Raises:
        PickleRefused: one of them is, or would run, what is not allowed.
        InputError: the archive lacks something or does not fit together.
    """
    known = {member.partition("/")[2]: data for member, data in members.items()}
    if len({member.partition("/")[0] for member in members}) != 1 or len(known) != len(members):
        raise InputError(f"{name}: the archive's members do not lie in one folder: it is no TorchScript")
    sources = {member: data for member, data in known.items() if _SOURCE.fullmatch(member)}
    fresh: dict[str, bytes] = {}
    for member, data in known.items():
        if _STORAGE.fullmatch(member):
            fresh[member] = data
        elif member in ("data.pkl", "constants.pkl"):
            check_pickle(data, f"{name}: {member}", _is_allowed, new_objects=True)
            folder = "data" if member == "data.pkl" else "constants"
            check_storages(data, {m.partition("/")[2]: d for m, d in known.items() if m.startswith(f"{folder}/")}, name)
            fresh[member] = data
        elif member in ("version", "byteorder"):
            if not re.fullmatch(rb"\d{1,4}\n?|little", data):
                raise InputError(f"{name}: its {member} is {data[:20]!r}")
            fresh[member] = data
        elif member not in sources and not _LEFT_BEHIND.fullmatch(member):
            raise PickleRefused(f"{name} holds {member[:100]!r}, which belongs to no TorchScript archive; refused")
    if not sources or "data.pkl" not in fresh:
        raise InputError(f"{name} is a TorchScript archive without its code or data")
    fresh.update(fresh_sources(sources, _takes_no_text))
    return fresh_archive({f"model/{member}": data for member, data in fresh.items()})


def _is_allowed(name: str) -> bool:
    return is_tensor_name(name) or _NAMES.fullmatch(name) is not None


def _takes_no_text(name: str) -> bool:
    """True for the name of no operator, or of one whose every form takes tensors, numbers and lists alone."""
    import torch

    schemas = torch._C._jit_get_schemas_for_operator(f"aten::{name}")
    return not any("str" in str(argument.type) for schema in schemas for argument in schema.arguments)
