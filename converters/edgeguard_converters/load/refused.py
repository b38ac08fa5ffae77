"""The error of a loader that found code."""

from edgeguard.errors import InputError


class PickleRefused(InputError):
    """The file holds a pickle, or something else, that could run code."""
