"""A torch.export archive (.pt2) written anew from the parts of a stranger's that are known.

`torch.export.load` retries a failed safe load with `weights_only=False`, unpickles custom objects, opens shared
libraries below `data/aotinductor/`, hands symbolic expressions to sympy's evaluator, resolves operator names by
`getattr` and writes names of the file into source that it executes. None of that can be reached from what is written
here: raw tensors, and JSON that was built field by field.
"""

import io
import json
import math
import re
from typing import Any

from edgeguard.errors import InputError
from edgeguard_converters.load.archive import fresh_archive
from edgeguard_converters.load.checkpoint import read_checkpoint
from edgeguard_converters.load.pickle_words import looks_like_pickle
from edgeguard_converters.load.program_schema import PAYLOADS, PROGRAM
from edgeguard_converters.load.rebuild import rebuilt
from edgeguard_converters.load.refused import PickleRefused

FACTS_MEMBER = "extra/edgeguard.json"
_MOST_TENSOR_BYTES = 1 << 33
_WIDEST_ITEM = 16
_MOST_CONTAINERS = 1 << 23  # of a JSON: some thirty for each node of a graph
_PAYLOAD = re.compile(r"data/(weights/weight|constants/tensor)_\d{1,9}")
_LEFT_BEHIND = re.compile(r"(extra/.*|\.data/.*|data/sample_inputs/[^/]*\.pt|archive_version|byteorder|version)")
_CODE = ("custom_obj", "opaque_obj")


def facts_of_archive(members: dict[str, bytes]) -> dict[str, Any]:
    """Our own `edgeguard.json` among the extra files; empty where there is none.

    Raises:
        InputError: it is no JSON object.
    """
    data = _without_root(members).get(FACTS_MEMBER)
    return {} if data is None else _json(data, FACTS_MEMBER)


def fresh_program(members: dict[str, bytes]) -> io.BytesIO:
    """The archive that torch loads, made of the members of a stranger's.

    Raises:
        PickleRefused: one of them is, or could become, code.
        InputError: the archive lacks something or does not fit together.
    """
    known = _without_root(members)
    programs = [name for name in known if name.startswith("models/")]
    if len(programs) != 1 or not re.fullmatch(r"models/\w{1,99}\.json", programs[0]):
        raise InputError(f"the archive holds {len(programs)} programs; one is wanted")
    name = programs[0].removeprefix("models/").removesuffix(".json")
    weights, constants = f"data/weights/{name}_weights_config.json", f"data/constants/{name}_constants_config.json"
    for member, data in known.items():
        _check_member(member, {*programs, weights, constants, "archive_format"})
        if _LEFT_BEHIND.fullmatch(member) and looks_like_pickle(data):
            read_checkpoint(data, member)  # it is not handed on; a file that brings code is refused all the same
    fresh: dict[str, bytes] = {
        "archive_format": b"pt2",
        "archive_version": known.get("archive_version", b"0")[:8],
        "byteorder": b"little",
        ".data/version": b"3\n",
        programs[0]: json.dumps(rebuilt(PROGRAM, _json(known[programs[0]], programs[0]), programs[0])).encode(),
        f"data/sample_inputs/{name}.pt": b"",
    }
    if known.get("byteorder", b"little") != b"little":
        raise InputError("the archive was written by a machine of the other byte order: export it again")
    for member in (weights, constants):
        folder = member.rpartition("/")[0]
        if member not in known:
            raise InputError(f"the archive lacks {member}: export it again with torch >= 2.9")
        config = rebuilt(PAYLOADS, _json(known[member], member), member)
        for entry in _field(config, "config", member).values():
            place = f"{folder}/{_field(entry, 'path_name', member)}"
            if _field(entry, "use_pickle", member):
                raise PickleRefused(f"the archive holds a pickled tensor ({place}); refused, it was not loaded")
            if place not in known:
                raise InputError(f"the archive lacks {place}")
            _check_extent(_field(entry, "tensor_meta", member), len(known[place]), place)
            fresh[place] = known[place]
        fresh[member] = json.dumps(config).encode()
    return fresh_archive({f"model/{member}": data for member, data in fresh.items()})


def _without_root(members: dict[str, bytes]) -> dict[str, bytes]:
    """Names without the one folder that all of them lie in."""
    roots = {name.partition("/")[0] for name in members}
    if len(roots) != 1:
        raise InputError("the archive's members do not lie in one folder: it is no torch.export program")
    return {name.partition("/")[2]: data for name, data in members.items()}


def _check_member(name: str, known: set[str]) -> None:
    base = name.rpartition("/")[2]
    if base.startswith(_CODE):
        raise PickleRefused(f"the archive holds a pickled object ({name}); refused, its code was not run")
    if name.startswith("data/aotinductor/"):
        raise PickleRefused(f"the archive holds compiled code ({name}); refused, it was not opened")
    if name not in known and not _PAYLOAD.fullmatch(name) and not _LEFT_BEHIND.fullmatch(name):
        raise PickleRefused(f"the archive holds {name[:100]!r}, which belongs to no torch.export program; refused")


def _check_extent(meta: dict[str, Any], size: int, place: str) -> None:
    """A tensor lies within its bytes and does not grow when something touches it."""
    sizes = [_whole(side) for side in _field(meta, "sizes", place)]
    count = math.prod(sizes)
    if count * _WIDEST_ITEM > max(_WIDEST_ITEM * size, 1 << 20) or count > _MOST_TENSOR_BYTES:
        raise InputError(f"{place} has {size} bytes and claims {count} values; refused")


def _field(record: Any, name: str, place: str) -> Any:
    if not isinstance(record, dict) or name not in record:
        raise InputError(f"{place} in the archive is damaged: a record without {name!r}")
    return record[name]


def _whole(side: Any) -> int:
    if "as_int" not in side:
        raise PickleRefused("a weight whose size is an expression; refused")
    return int(side["as_int"])


def _json(data: bytes, name: str) -> dict[str, Any]:
    if data.count(b"[") + data.count(b"{") > _MOST_CONTAINERS:  # three bytes make a list of 64
        raise InputError(f"{name} in the archive has more parts than a program has")
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} in the archive is not JSON: {str(error)[:200]}") from error
    if not isinstance(parsed, dict):
        raise InputError(f"{name} in the archive holds no JSON object")
    return parsed
