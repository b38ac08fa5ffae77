"""Names of a model's outputs: from the file itself, or from a label file."""

import io
import json
import re
import struct
import zipfile

from edgeguard.errors import InputError
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.system.foreign import parsing
from edgeguard.system.text import decoded_text

#: Bytes of a label file, and of the list of an archive's members.
LARGEST = 1 << 20
_END = struct.Struct("<4s4H2LH")  # a zip's last record, without its comment


def read_labels(model: ModelFile) -> tuple[str, ...]:
    """Labels from the zip that the metadata tools append to a .tflite; empty when there are none, or none to read."""
    if not _small_archive(model.data):
        return ()
    try:
        with parsing("the archive"), zipfile.ZipFile(io.BytesIO(model.data)) as archive:
            found = [i for i in archive.infolist() if i.filename.endswith(".txt") and "label" in i.filename.lower()]
            if not found or found[0].file_size > LARGEST or found[0].compress_type not in _UNPACKED_HERE:
                return ()
            return parse_labels(archive.read(found[0].filename))
    except (InputError, OSError):
        return ()


_UNPACKED_HERE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others choose their memory themselves


def _small_archive(data: bytes) -> bool:
    """Whether a zip ends these bytes whose list of members is small: each costs far more memory than its bytes."""
    start = data.rfind(b"PK\x05\x06", max(0, len(data) - _END.size - 0xFFFF))
    if start < 0 or start + _END.size > len(data):
        return False
    return int(_END.unpack_from(data, start)[5]) <= LARGEST


def parse_labels(data: bytes) -> tuple[str, ...]:
    r"""One label a line. Lines of the form `3  goldfinch` (Coral's) give the label for that index.

    JSON is read as well: a list of names, or an object of index and name (`id2label` too). See `decoded_text` for
    encodings.

    Raises:
        InputError: the bytes are no text, or JSON that names no classes.

    Example:
        >>> parse_labels(b"0  background\n1  tench\n")
        ('background', 'tench')
    """
    try:
        text = decoded_text(data)[0]
        if text.lstrip()[:1] in ("{", "["):
            return _from_json(text)
    except InputError as error:
        raise InputError(f"the label file {error}") from error
    lines = [line.strip() for line in re.split(r"\r\n|\r|\n", text)]
    while lines and not lines[-1]:
        lines.pop()
    numbered = [line.split(maxsplit=1) for line in lines]
    if lines and all(len(p) == 2 and _is_number(p[0], i) for i, p in enumerate(numbered)):
        return tuple(parts[1] for parts in numbered)
    return tuple(lines)


def _from_json(text: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"begins like JSON and is none: {error}") from error
    if isinstance(found, dict):
        found = found.get("id2label", found)
    if isinstance(found, dict):
        if not all(str(index) in found for index in range(len(found))):
            raise InputError('is JSON, but no object of index and name ({"0": "cat", "1": "dog"})')
        found = [found[str(index)] for index in range(len(found))]
    names = [entry[-1] if isinstance(entry, list) and entry else entry for entry in found]  # ["n01440764", "tench"]
    if not names or not all(isinstance(name, str) for name in names):
        raise InputError("is JSON, but no list of names")
    return tuple(names)


def _is_number(text: str, number: int) -> bool:
    return text.isdecimal() and len(text) < 10 and int(text) == number
