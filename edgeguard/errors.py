"""The errors that end a command, each with the exit code that the command line gives it.

Library code raises these (or ValueError from `edgeguard.guard`); only the command line turns them into
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


class DeviceError(EdgeGuardError):
    """A device, the network or a disk is lost, or was not there to begin with."""

    exit_code = 3
