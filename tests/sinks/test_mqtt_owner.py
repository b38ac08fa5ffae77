"""Who has a name: of two processes exactly one, whichever could hear the other first."""

import threading
from unittest import mock

import pytest

from edgeguard.sinks.mqtt_owner import Owner


@pytest.mark.parametrize("marks", ["ab", "ba"])
def test_of_two_whose_waits_overlap_one_owns(marks: str) -> None:
    """The second one subscribes after the first one has asked, and asks before that one's wait is over."""
    owners: list[Owner] = []
    asked = threading.Event()

    def from_first(topic: str, text: str) -> None:
        if asked.is_set():
            owners[1].received(topic, text.encode())
        asked.set()  # nobody hears the first message

    with mock.patch("edgeguard.sinks.mqtt_owner.secrets.token_hex", side_effect=list(marks)):
        owners.append(Owner("porch", from_first))
        owners.append(Owner("porch", lambda topic, text: owners[0].received(topic, text.encode())))
    with mock.patch("edgeguard.sinks.mqtt_owner._ANSWER_WITHIN_S", 0.4):
        first = threading.Thread(target=owners[0].claim)
        first.start()
        assert asked.wait(5)
        owners[1].claim()
        first.join()
    assert [owner.owns for owner in owners] == [mark == "a" for mark in marks]
