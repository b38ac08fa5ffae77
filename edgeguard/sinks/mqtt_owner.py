"""Who may publish under a name: two processes with one name would each deny what the other says.

Before it publishes anything, a process asks on `NAME/owner/ask` and waits for an answer on `NAME/owner/answer`. Whoever
has the name answers. Of two that ask within one wait the one with the smaller mark has it: it answers the other one,
and the other one yields to its question, since it may have asked before the first one could hear it.
"""

import os
import secrets
import socket
import threading
from collections.abc import Callable

_ANSWER_WITHIN_S = 1.5
_LONGEST = 200


class Owner:
    """One process's claim to a name.

    Args:
        name: first level of the topics.
        publish: sends a payload to a topic.

    Attributes:
        other: who else has the name; None where nobody is known.
    """

    def __init__(self, name: str, publish: Callable[[str, str], None]) -> None:
        self._ask, self._answer = f"{name}/owner/ask", f"{name}/owner/answer"
        self._mark, self._publish = f"{secrets.token_hex(8)} process {os.getpid()} on {socket.gethostname()}", publish
        self._owns = self._claims = False
        self.other: str | None = None
        self._heard, self._deciding = threading.Event(), threading.Lock()

    @property
    def topics(self) -> tuple[str, str]:
        """What has to be subscribed to."""
        return self._ask, self._answer

    @property
    def owns(self) -> bool:
        """Whether the name is ours."""
        return self._owns

    def claim(self) -> bool:
        """Ask, and wait for an answer, for at most a second and a half; not to be called in the client's own thread."""
        self._owns, self.other = False, None
        self._heard.clear()
        self._claims = True
        asked = False
        try:
            self._publish(self._ask, self._mark)
            asked = True
            self._heard.wait(_ANSWER_WITHIN_S)
        finally:
            with self._deciding:
                self._owns, self._claims = asked and not self._heard.is_set(), False
        return self._owns

    def lost_connection(self) -> None:
        """Somebody may take the name meanwhile."""
        self._owns = False

    def received(self, topic: str, payload: bytes) -> None:
        """A message on one of the topics."""
        said = payload[:_LONGEST].decode("utf-8", "replace")
        if said == self._mark:
            return
        with self._deciding:
            answers = topic == self._ask and (self._owns or (self._claims and self._mark < said))
            if not self._owns and (topic == self._answer or (topic == self._ask and self._claims and not answers)):
                self.other = "".join(letter for letter in said.partition(" ")[2] if letter.isprintable())
                self._heard.set()
        if answers:
            self._publish(self._answer, self._mark)
