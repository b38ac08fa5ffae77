"""paho's client with bounds: whatever a broker sends, and however little it reads, the memory of it ends.

paho-mqtt keeps a packet of up to 256 MB until it is whole, each message of QoS 2 until the broker releases it, and
what waits to be sent for as long as the broker reads nothing. Its interface has a bound for none of them, so three of
its own methods are put right here; `unbounded` says where a later paho has no such methods.
"""

import contextlib
import socket

from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import MQTTErrorCode

#: Bytes of a message that are kept; the rest is read and forgotten, and whoever takes the message sees it cut.
LARGEST_KEPT = 1 << 17
_PIECE = 1 << 16
#: Packets and bytes that wait to be sent before the broker counts as one that reads nothing.
MOST_PACKETS, MOST_BYTES = 2000, 8 << 20
_METHODS = ("_sock_recv", "_handle_publish", "_packet_queue")


class BoundedClient(Client):
    """As `paho.mqtt.client.Client`, for subscriptions of QoS 0 and 1 only.

    A broker that sends QoS 2, which it must not do then, and one that reads nothing are disconnected, and tried again
    as after any other loss.
    """

    def _sock_recv(self, bufsize: int) -> bytes:
        del self._in_packet["packet"][LARGEST_KEPT:]  # a longer packet is read to its end, and not kept
        return super()._sock_recv(min(bufsize, _PIECE))

    def _handle_publish(self) -> MQTTErrorCode:
        if (self._in_packet["command"] >> 1) & 3 > 1:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        return super()._handle_publish()

    def _packet_queue(
        self, command: int, packet: bytes | bytearray, mid: int, qos: int, info: MQTTMessageInfo | None = None
    ) -> MQTTErrorCode:
        waiting = self._out_packet.copy()
        if len(waiting) >= MOST_PACKETS or sum(len(one["packet"]) for one in waiting) > MOST_BYTES:
            self._hang_up()
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        return super()._packet_queue(command, packet, mid, qos, info)

    def _hang_up(self) -> None:
        """Wakes the client's own thread, which finds the connection lost."""
        sock = self.socket()
        if isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # of TLS, too: below its layer


def unbounded() -> list[str]:
    """The methods that this version of paho does not have, so that a bound is missing."""
    return [name for name in _METHODS if not hasattr(Client, name)]
