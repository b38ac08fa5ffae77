"""Names of a model's outputs: from the file itself, or from a label file."""

import io
import struct
import zipfile

from edgeguard.errors import InputError
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.system.foreign import parsing

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

    Example:
        >>> parse_labels(b"0  background\n1  tench\n")
        ('background', 'tench')
    """
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    numbered = [line.split(maxsplit=1) for line in lines]
    if lines and all(len(p) == 2 and _is_number(p[0], i) for i, p in enumerate(numbered)):
        return tuple(parts[1] for parts in numbered)
    return tuple(lines)


def _is_number(text: str, number: int) -> bool:
    return text.isdecimal() and len(text) < 10 and int(text) == number
