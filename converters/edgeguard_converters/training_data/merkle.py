"""One hash over many files: the Merkle tree of RFC 6962, section 2.1, over names and contents."""

import hashlib
from collections.abc import Mapping, Sequence

from edgeguard.datasets.entries import Entry, UnreadableMember

#: Stands for the content of a file that cannot be read.
UNREADABLE = bytes(32)


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root of a tree over leaves in this order (RFC 6962, section 2.1; leaf and node hashes are told apart).

    Example:
        >>> merkle_root([]).hex()[:16]
        'e3b0c44298fc1c14'
    """
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = [hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]
    while len(level) > 1:  # a last node without a partner goes up as it is: the same tree as RFC 6962's split
        pairs = [hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


def data_root(digests: Mapping[str, bytes]) -> str:
    """The root of a set of files, in hexadecimal.

    Args:
        digests: SHA-256 of each file's bytes by its name below the folder; `UNREADABLE` for one without.

    Example:
        >>> data_root({"cat/0.png": bytes(32)}) == data_root({"dog/0.png": bytes(32)})
        False
    """
    names = sorted(digests, key=str.encode)
    return merkle_root([name.encode() + b"\0" + digests[name] for name in names]).hex()


def digest_of(entry: Entry) -> bytes:
    """The SHA-256 of a file's bytes; `UNREADABLE` where they cannot be had."""
    content = content_of(entry)
    return UNREADABLE if isinstance(content, str) else hashlib.sha256(content).digest()


def content_of(entry: Entry) -> bytes | str:
    """A file's bytes, or why they cannot be had."""
    try:
        return entry.read()
    except OSError as error:
        return error.strerror or str(error)
    except UnreadableMember as error:
        return str(error)
