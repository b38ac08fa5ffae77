"""The error of a loader that found code."""

from edgeguard.errors import InputError


class SizeMissing(InputError):
    """The file does not say the size of its input."""


class ArchitectureMissing(InputError):
    """A state_dict of a network that is not known."""


class PickleRefused(InputError):
    """The file holds a pickle, or something else, that could run code."""
