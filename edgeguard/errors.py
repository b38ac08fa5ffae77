"""The errors that end a command, each with the exit code that the command line gives it.

Library code raises these; only the command line turns them into
an exit status. The message is one line: what is wrong and what to do about it.
"""


class EdgeGuardError(Exception):
    """Base of all errors that are not bugs of ours."""

    exit_code = 70


class CheckFailed(EdgeGuardError):
    """A check or a quality gate failed."""

    exit_code = 1


class InputError(EdgeGuardError):
    """Bad usage, or an input file that cannot be used (a hostile one included)."""

    exit_code = 2


class ProfileError(InputError, ValueError):
    """A guard profile that cannot be used; the message names the file, the line and the key where they are known."""


class JpegError(InputError, ValueError):
    """Bytes that are not a JPEG that we can use; the message says why in one line."""


class DeviceError(EdgeGuardError):
    """A device, the network or a disk is lost, or was not there to begin with."""

    exit_code = 3


_NO_MEMORY = ("allocate memory", "failed to map segment", "bad_alloc", "can't allocate", "can't start new thread",
              "insufficient memory")  # fmt: skip
_QUOTE = (EdgeGuardError, ValueError, LookupError, TypeError)  # their texts quote files, and a file says what it likes


def is_out_of_memory(error: BaseException) -> bool:
    """True when an error, or one that it was raised from, says that the system gave no memory.

    Libraries wrap it in errors of their own, and loaders of shared objects and threads have words of theirs for it.

    Example:
        >>> is_out_of_memory(ImportError("libx.so: failed to map segment from shared object"))
        True
    """
    found: BaseException | None = error
    seen = set[int]()  # an error that is raised again while its successor is handled makes the chain a ring
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        said = "" if isinstance(found, _QUOTE) else str(found).lower()
        if isinstance(found, MemoryError) or any(words in said for words in _NO_MEMORY):
            return True
        found = found.__cause__ or found.__context__
    return False
