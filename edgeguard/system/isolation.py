"""What this system gives to confine a process, found out by confining one, and the line about what it does not give."""

import logging

from edgeguard.errors import EdgeGuardError
from edgeguard.system.confine import Confinement
from edgeguard.system.confined_child import ConfinedChild

_log = logging.getLogger(__name__)


def isolation() -> Confinement:
    """What a process would be confined with now; nothing where even that cannot be started.

    Example:
        >>> isolation().missing  # doctest: +SKIP
        ()
    """
    child = ConfinedChild("edgeguard.system.serving:Service", what="a probe")
    try:
        return child.start()
    except EdgeGuardError:
        return Confinement("", "", "")
    finally:
        child.end()


def say_what_is_missing(confinement: Confinement) -> None:
    """A warning where a process that reads a stranger's model is not fully confined."""
    if confinement.missing:
        _log.warning("THE MODEL'S PROCESS IS NOT FULLY CONFINED: %s", "; ".join(confinement.missing))
