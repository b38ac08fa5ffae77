"""MQTT against a real mosquitto on loopback: states, discovery, last will, password, TLS, a broker that goes away."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from programs import needed

from edgeguard.camera.reader import State
from edgeguard.errors import InputError
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.status import RunStatus
from edgeguard.sinks.base import Undelivered
from edgeguard.sinks.mqtt import Mqtt
from edgeguard.sinks.mqtt_client import Broker, new_client
from edgeguard.sinks.queued import QueuedSink

paho = pytest.importorskip("paho.mqtt.client", reason="the extra mqtt is not installed")
Make = Callable[..., FrameResult]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def broker(folder: Path, port: int, *lines: str) -> Iterator[subprocess.Popen[bytes]]:
    config = folder / "mosquitto.conf"
    user = "" if os.geteuid() else "user root"
    config.write_text("\n".join([f"listener {port} 127.0.0.1", user, *(lines or ("allow_anonymous true",))]) + "\n")
    process = subprocess.Popen([needed("mosquitto"), "-c", config], stderr=subprocess.DEVNULL)
    try:
        _wait(lambda: _listens(port), "the broker listens")
        yield process
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(condition: Callable[[], Any], what: str, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class Listener:
    """Everything that the broker has."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[tuple[str, str, bool]] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = lambda c, u, m: self.messages.append(
            (m.topic, m.payload.decode("utf-8", "replace"), m.retain)
        )
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("#")
        self.client.loop_start()

    def last(self, topic: str) -> str | None:
        return next((payload for t, payload, _ in reversed(self.messages) if t == topic), None)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_states_discovery_and_a_clean_goodbye(status: RunStatus, make: Make, tmp_path: Path) -> None:
    port = _free_port()
    with broker(tmp_path, port):
        listener = Listener(port)
        with Mqtt(f"mqtt://127.0.0.1:{port}", "porch", status) as mqtt:
            _wait(lambda: listener.last("porch/status") == "online", "online")
            _wait(lambda: listener.last("porch/camera") == "online", "the camera is there")
            for frame in range(20):  # the same label: one message a second at most
                mqtt.write(make(frame))
            mqtt.write(make(20, "yield", alarms=("patch",)))
            _wait(lambda: '"yield"' in (listener.last("porch/state") or ""), "the new label")
            states = [json.loads(payload) for topic, payload, _ in listener.messages if topic == "porch/state"]
            assert len(states) <= 4 and states[0]["label"] == "stop" and states[0]["alarm"] == "OFF"
            assert states[-1]["alarm"] == "ON" and states[-1]["alarms"] == ["patch"]
            assert states[-1]["camera"] == "running" and states[-1]["refused"] == 0
            config = json.loads(listener.last("homeassistant/sensor/porch/label/config") or "")
            assert config["availability"] == [{"topic": "porch/status"}, {"topic": "porch/camera"}]
            assert config["availability_mode"] == "all" and config["state_topic"] == "porch/state"
            assert config["unique_id"] == "porch_label" and config["value_template"] == "{{ value_json.label }}"
            alarm = json.loads(listener.last("homeassistant/binary_sensor/porch/alarm/config") or "")
            assert alarm["availability"] == [{"topic": "porch/status"}]
        _wait(lambda: listener.last("porch/status") == "offline", "offline at the end")
        assert listener.last("porch/camera") == "offline"
        listener.close()


def test_the_newest_proof_is_published_where_frames_can_be_proven(
    status: RunStatus, make: Make, tmp_path: Path
) -> None:
    port = _free_port()
    proof = {"certified_share": 1.0, "certified_share_2": 0.25, "proven": True, "proven_2": False}
    status.update(make(5, certifies=True, **proof))
    with broker(tmp_path, port):
        listener = Listener(port)
        with Mqtt(f"mqtt://127.0.0.1:{port}", "porch", status) as mqtt:
            _wait(lambda: listener.last("porch/status") == "online", "online")
            mqtt.write(make(6))
            _wait(lambda: _state(listener).get("frame") == 6, "its state")
            assert "proof" not in _state(listener)
            mqtt.write(make(7, "yield", certifies=True))
            _wait(lambda: '"yield"' in (listener.last("porch/state") or ""), "the new label")
            assert _state(listener)["proof"] == {"frame": 5, **proof}
        listener.close()


def _state(listener: Listener) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(listener.last("porch/state") or "{}")
    return found


def test_a_camera_that_dies_is_told_at_once_and_takes_its_label_along(
    status: RunStatus, make: Make, tmp_path: Path
) -> None:
    port = _free_port()
    with broker(tmp_path, port):
        listener = Listener(port)
        with Mqtt(f"mqtt://127.0.0.1:{port}", "porch", status) as mqtt:
            _wait(lambda: mqtt.connected, "connected")
            mqtt.write(make(1, "stop"))
            _wait(lambda: _state(listener).get("label") == "stop", "the label")
            status.reason, status.away_since, status.state = "unplugged", 1234.5, State.LOST  # and no result comes
            _wait(lambda: listener.last("porch/camera") == "offline", "the camera is gone", 2)
            _wait(lambda: _state(listener)["camera"] == "lost", "its state", 2)
            lost = _state(listener)
            assert (lost["label"], lost["score"], lost["age_ms"]) == (None, None, None)
            assert (lost["reason"], lost["away_since"]) == ("unplugged", 1234.5)
            assert listener.last("porch/status") == "online"  # the run is there
            status.counters.refused["wrong MAC"] += 3
            status.state, status.reason, status.ringing = State.REFUSED, "its MAC", ("refused",)
            _wait(lambda: _state(listener)["camera"] == "refused", "refused", 2)
            assert _state(listener)["refused_by"] == {"wrong MAC": 3} and _state(listener)["alarms"] == ["refused"]
            status.state, status.reason, status.ringing = State.RUNNING, "", ("frozen",)
            _wait(lambda: _state(listener)["alarms"] == ["frozen"], "frozen", 2)
            assert _state(listener)["label"] is None and listener.last("porch/camera") == "offline"
            status.ringing = ()
            mqtt.write(make(2, "yield"))
            _wait(lambda: _state(listener)["label"] == "yield", "back", 2)
            _wait(lambda: listener.last("porch/camera") == "online", "there again", 2)
        listener.close()


@pytest.mark.full
def test_a_second_process_with_the_same_name_is_refused(status: RunStatus, make: Make, tmp_path: Path) -> None:
    port = _free_port()
    with broker(tmp_path, port):
        listener, url = Listener(port), f"mqtt://127.0.0.1:{port}"
        with Mqtt(url, "porch", status) as first:
            _wait(lambda: first.connected, "connected")
            second = Mqtt(url, "porch", status, patience_s=5.0)
            with pytest.raises(Undelivered, match=rf"another edgeguard publishes as porch \(process {os.getpid()} on "):
                second.write(make(1, "from the second"))
            first.write(make(2, "from the first"))
            _wait(lambda: "from the first" in (listener.last("porch/state") or ""), "the first one goes on")
            assert not second.connected and not any("second" in payload for _, payload, _ in listener.messages)
            second._client._sock_close()  # its last will must not take the first one away
            _wait(lambda: ("porch/status", "offline", False) in listener.messages, "the will of the second")
            _wait(lambda: listener.last("porch/status") == "online", "the first one says that it is there")
        with Mqtt(url, "garage", status) as other:
            _wait(lambda: other.connected, "another name is free")
        _wait(lambda: second.connected, "the name is free now", 15)
        second.write(make(3))
        second.__exit__()
        listener.close()


@pytest.mark.full
def test_an_answer_that_the_broker_keeps_is_nobodys(status: RunStatus, tmp_path: Path) -> None:
    """One retained message said at every connection that the name is another process's."""
    port = _free_port()
    with broker(tmp_path, port):
        listener = Listener(port)
        for topic in ("porch/owner/answer", "porch/owner/ask"):
            listener.client.publish(topic, "0 process 1 on nowhere", qos=1, retain=True).wait_for_publish(5)
        with Mqtt(f"mqtt://127.0.0.1:{port}", "porch", status) as mqtt:
            _wait(lambda: mqtt.connected, "the name is ours")
            asked = [text for topic, text, _ in listener.messages if topic == "porch/owner/ask"]
            assert len(asked) == 2, "one of the broker's and one of ours: the first claim holds"
        listener.close()


def test_two_that_start_at_once_find_one_owner(status: RunStatus, tmp_path: Path) -> None:
    port = _free_port()
    with broker(tmp_path, port):
        both = [Mqtt(f"mqtt://127.0.0.1:{port}", "porch", status) for _ in range(2)]
        _wait(lambda: any(one.connected for one in both), "one of them")
        time.sleep(2.0)
        assert sum(one.connected for one in both) == 1
        for one in both:
            one.__exit__()


@pytest.mark.full
def test_what_is_not_delivered_is_counted_said_and_ends_in_a_failure(
    status: RunStatus, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = _free_port()
    with QueuedSink("mqtt", lambda: Mqtt(f"mqtt://127.0.0.1:{port}", "porch", status, patience_s=0.2)) as sink:
        for frame in range(5):
            sink.write(make(frame))
        _wait(lambda: sink.dropped == 5, "dropped")
        assert sink.written == 0 and sink.failure == f"the broker cannot be reached: 127.0.0.1, port {port}"
        assert sum("the broker cannot be reached" in text for text in caplog.messages) == 1
        with broker(tmp_path, port):
            _wait(lambda: _delivered(sink, make), "works again", 20)
    assert sink.failure is not None or sink.written > 0


def _delivered(sink: QueuedSink, make: Make) -> bool:
    sink.write(make(9))
    time.sleep(0.1)
    return sink.failure is None and sink.written > 0


def test_the_last_will_of_a_killed_run(status: RunStatus, tmp_path: Path) -> None:
    port = _free_port()
    with broker(tmp_path, port):
        listener = Listener(port)
        mqtt = Mqtt(f"mqtt://127.0.0.1:{port}", "porch", status)
        _wait(lambda: listener.last("porch/status") == "online", "online")
        mqtt._client._sock_close()  # what a kill -9 leaves
        _wait(lambda: ("porch/status", "offline", False) in listener.messages, "the last will")
        mqtt.__exit__()
        listener.close()


@pytest.mark.full
def test_a_broker_that_comes_late_and_goes_delays_nobody(status: RunStatus, make: Make, tmp_path: Path) -> None:
    port = _free_port()
    with Mqtt(f"mqtt://127.0.0.1:{port}", "porch", status) as mqtt:
        began = time.monotonic()
        for frame in range(100):
            with pytest.raises(Undelivered, match="the broker cannot be reached"):
                mqtt.write(make(frame, label=str(frame)))
        assert time.monotonic() - began < 1.0 and not mqtt.connected
        with broker(tmp_path, port):
            _wait(lambda: mqtt.connected, "found", 15)
            mqtt.write(make(1))
        _wait(lambda: not mqtt.connected, "noticed that it went")
        with pytest.raises(Undelivered):
            mqtt.write(make(2, "other"))


@pytest.mark.full
def test_a_password_from_a_file(status: RunStatus, make: Make, tmp_path: Path) -> None:
    port, passwords, secret = _free_port(), tmp_path / "passwords", tmp_path / "secret"
    subprocess.run(
        [needed("mosquitto_passwd"), "-b", "-c", passwords, "edge", "correct horse"], check=True, capture_output=True
    )
    passwords.chmod(0o644)
    secret.write_text("correct horse\n")
    with broker(tmp_path, port, "allow_anonymous false", f"password_file {passwords}"):
        with Mqtt(f"mqtt://edge@127.0.0.1:{port}", "porch", status, password_file=secret) as mqtt:
            _wait(lambda: mqtt.connected, "let in")
        with Mqtt(f"mqtt://127.0.0.1:{port}", "porch", status, patience_s=5.0) as mqtt:
            with pytest.raises(Undelivered, match="the broker refuses us: Not authorized"):
                mqtt.write(make())


def test_tls_with_an_own_authority(status: RunStatus, tmp_path: Path) -> None:
    port, key, certificate = _free_port(), tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [needed("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    key.chmod(0o644)
    with broker(tmp_path, port, "allow_anonymous true", f"certfile {certificate}", f"keyfile {key}"):
        with Mqtt(f"mqtts://localhost:{port}", "porch", status, ca_file=certificate) as mqtt:
            _wait(lambda: mqtt.connected, "let in")
        with Mqtt(f"mqtts://localhost:{port}", "porch", status) as mqtt:  # the system does not know this authority
            time.sleep(0.7)
            assert not mqtt.connected


@pytest.mark.parametrize("url", ["http://me:secret@broker", "mqtt://me:secret@broker:99999", "me:secret@broker"])
def test_a_url_that_is_none_shows_no_password(url: str, status: RunStatus) -> None:
    with pytest.raises(InputError) as error:
        Mqtt(url, "porch", status)
    assert "secret" not in str(error.value) and "broker" in str(error.value)


@pytest.mark.parametrize(
    ("url", "name", "said"),
    [
        ("http://host", "x", "wants mqtt://"),
        ("mqtt://host:99999", "x", "not a URL"),
        ("mqtt://user:pw@host", "x", "no password in the URL"),
        ("mqtt://host/topic", "x", "wants mqtt://"),
        ("mqtt://host", "a/b", "--mqtt-name wants letters"),
    ],
)
def test_bad_addresses(status: RunStatus, url: str, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Mqtt(url, name, status)


def test_a_password_that_others_can_read_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct horse")
    for mode, folder, said in ((0o644, 0o755, 1), (0o644, 0o700, 0), (0o640, 0o755, 0), (0o600, 0o755, 0)):
        secret.chmod(mode)
        tmp_path.chmod(folder)
        caplog.clear()
        new_client(Broker("mqtt://edge@host", secret))
        assert caplog.text.count("others on this machine may read") == said, (oct(mode), oct(folder))


def test_files_that_cannot_be_read(status: RunStatus, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the password file"):
        Mqtt("mqtt://edge@host", "x", status, password_file=tmp_path / "none")
    with pytest.raises(InputError, match="cannot read the authority"):
        Mqtt("mqtts://host", "x", status, ca_file=tmp_path / "none")
    for text in ("", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        (tmp_path / "authority").write_text(text)
        with pytest.raises(InputError, match="cannot use the authority"):
            Mqtt("mqtts://host", "x", status, ca_file=tmp_path / "authority")


def test_a_pipe_in_the_place_of_the_authority_is_not_waited_for(
    status: RunStatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library opened it, and waited for a writer for ever."""
    monkeypatch.setattr("edgeguard.system.foreign._WRITER_WITHIN_S", 0.05)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a pipe that nobody writes to"):
        Mqtt("mqtts://host", "x", status, ca_file=tmp_path / "pipe")
