"""Names of a model's outputs: from the file itself, or from a label file."""

import io
import zipfile

from edgeguard.model.flatbuffer import ModelFile


def read_labels(model: ModelFile) -> tuple[str, ...]:
    """Labels from the zip that the metadata tools append to a .tflite; empty when there are none."""
    try:
        with zipfile.ZipFile(io.BytesIO(model.data)) as archive:
            names = [name for name in archive.namelist() if name.endswith(".txt") and "label" in name.lower()]
            if not names or archive.getinfo(names[0]).file_size > 1 << 20:
                return ()
            return parse_labels(archive.read(names[0]))
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError):
        return ()


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
    if lines and all(len(p) == 2 and p[0].isdecimal() and int(p[0]) == i for i, p in enumerate(numbered)):
        return tuple(parts[1] for parts in numbered)
    return tuple(lines)
