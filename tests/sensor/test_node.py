"""A sensor node on loopback, its receivers, and those between them."""

import json
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from camera.streams import http_server, part
from cli.launch import LAUNCH, refused, run
from commands import here
from numpy.typing import NDArray

from edgeguard.camera import Applied, Captured, Lost, open_source
from edgeguard.camera.source import Unchanged
from edgeguard.dct.jpeg_encode import coded_with
from edgeguard.errors import DeviceError
from edgeguard.guard import GuardProfile, encode_jpeg, read_jpeg_info
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.jpeg.seal import Seal, read_seal, seal_jpeg
from edgeguard.sensor.node import CodedFrame, SensorNode, code

FD_JPEG = GuardProfile.preset("fd-jpeg")
KEY = b"k" * 32


class Live:
    """A live camera of one scene, raw or JPEG."""

    name, live, applied = "live", True, Applied()

    def __init__(self, rgb: NDArray[np.uint8], jpeg: bytes | None = None) -> None:
        self.rgb, self.jpeg, self.closed = rgb, jpeg, False

    def frames(self) -> Iterator[Captured | Lost]:
        index = 0
        while not self.closed:
            time.sleep(0.02)
            raw = None if self.jpeg is not None else self.rgb
            yield Captured(index, self.name, self.jpeg, raw, time.time(), "received")
            index += 1

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def live(scene: NDArray[np.uint8]) -> Live:
    return Live(scene)


def _take(url: str, count: int, key: bytes | None = None) -> list[Captured | Lost | Unchanged]:
    source, items = open_source(url, key=key), list[Captured | Lost | Unchanged]()
    for item in source.frames():
        items.append(item)
        if len(items) == count:
            break
    source.close()
    return items


def test_pass_one_of_raw_coded_and_other_jpeg_frames(scene: NDArray[np.uint8]) -> None:
    own, other = encode_jpeg(scene, FD_JPEG), encode_jpeg(scene, GuardProfile.preset("jpeg:90"))
    for jpeg, rgb in ((None, scene), (own, None), (other, None)):
        coded = code(Captured(3, "x", jpeg, rgb, 1.0, "received"), FD_JPEG)
        assert isinstance(coded, CodedFrame) and coded_with(read_jpeg_info(coded.data), FD_JPEG)
        assert jpeg is not own or coded.data == own
    assert isinstance(code(Captured(3, "x", own[:100], None, 1.0, "received"), FD_JPEG), Lost)


def test_frames_arrive_sealed_in_order_with_the_sensors_time(live: Live) -> None:
    with SensorNode(live, lambda: live, FD_JPEG, host="127.0.0.1", port=0, key=KEY) as node:
        items = _take(node.url, 5, KEY)
        frames = [item for item in items if isinstance(item, Captured)]
        assert len(frames) == 5 and all(frame.time_source == "source" for frame in frames)
        seals = [read_seal(read_jpeg_info(frame.jpeg or b"")) for frame in frames]
        numbers = [seal.sequence for seal in seals if seal is not None]
        assert numbers == sorted(set(numbers)) and {s.profile for s in seals if s} == {FD_JPEG.sha256}
        assert len({seal.nonce for seal in seals if seal}) == 1
        unproven = _take(node.url, 2)
        assert all(isinstance(item, Captured) and item.time_source == "received" for item in unproven)
        assert decode_rgb(frames[0].jpeg or b"").shape == live.rgb.shape


def test_who_has_another_key_or_listens_to_another_stream_gets_nothing(live: Live) -> None:
    with SensorNode(live, lambda: live, FD_JPEG, host="127.0.0.1", port=0, key=KEY) as node:
        assert all(isinstance(i, Lost) and "MAC is not the key's" in i.reason for i in _take(node.url, 3, b"x" * 32))
    with SensorNode(Live(live.rgb), lambda: live, FD_JPEG, host="127.0.0.1", port=0) as node:
        assert all(isinstance(item, Lost) and "forged" in item.reason for item in _take(node.url, 3, KEY))


def test_a_man_in_the_middle_who_records_and_replays(live: Live) -> None:
    """He answers with a stream that the sensor made for another connection: whole, sealed, and refused."""
    with SensorNode(live, lambda: live, FD_JPEG, host="127.0.0.1", port=0, key=KEY) as node:
        with urllib.request.urlopen(f"{node.url}?nonce={'ab' * 16}", timeout=5) as answer:
            recorded = answer.read(60_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=edgeguard\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def replay() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(head + recorded)
                time.sleep(0.5)

        thread = threading.Thread(target=replay, daemon=True)
        thread.start()
        items = []
        try:
            for item in open_source(f"http://127.0.0.1:{server.getsockname()[1]}/stream", key=KEY).frames():
                items.append(item)
        except DeviceError:
            pass
        thread.join(5)
    assert len(items) >= 2 and all(isinstance(i, Lost) and "of another stream: replayed" in i.reason for i in items)


def test_tokens_nonces_and_too_many(live: Live) -> None:
    token = "0123456789abcdef"
    with SensorNode(live, lambda: live, FD_JPEG, host="127.0.0.1", port=0, token=token) as node:
        for url, expected in (
            (node.url, 401),
            (f"{node.url}?token=wrong", 401),
            (f"{node.url}?token={token}&nonce=zz", 400),
            (node.url.replace("/stream", "/x"), 401),
            (node.url.replace("/stream", f"/x?token={token}"), 404),
        ):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(url, timeout=5)
            assert caught.value.code == expected
        assert len(_take(f"{node.url}?token={token}", 2)) == 2
        time.sleep(0.5)  # the node notices with its next frame that a receiver left
        open_ones = [open_source(f"{node.url}?token={token}") for _ in range(8)]
        with pytest.raises(DeviceError, match="503"):
            open_source(f"{node.url}?token={token}")
        for source in open_ones:
            source.close()
        with urllib.request.urlopen(node.url.replace("/stream", "/healthz"), timeout=5) as answer:
            assert answer.status == 200


@pytest.mark.full
def test_run_counts_two_passes_behind_a_sensor_and_refuses_forgeries(tmp_path: Path) -> None:
    key, other = tmp_path / "key", tmp_path / "other"
    for path, text in ((key, "k" * 32), (other, "o" * 32)):
        path.write_text(text)
        path.chmod(0o600)
    command = ["sensor", "--source", "synthetic:cards?fps=30&width=320&height=240", "--guard", "fd-jpeg"]
    node = subprocess.Popen(
        [*LAUNCH, *command, "--listen", "127.0.0.1:0", "--key-file", str(key)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert node.stderr is not None
        line = next(text for text in node.stderr if "/stream" in text)
        url = line.split(",")[0].removeprefix("edgeguard: ")
        assert "with a MAC" in line
        options = ("--guard", "fd-jpeg", "--frames", 5, "--output", tmp_path / "r.jsonl")
        done = run("run", "--source", url, "--key-file", key, *options)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(text) for text in (tmp_path / "r.jsonl").read_text().splitlines()]
        assert {(r["pass1"], r["passes"], r["time_source"]) for r in lines} == {("sensor", 2, "source")}
        forged = run("run", "--source", url, "--key-file", other, "--lost-after", 0.5, "--give-up-after", 1, "--json")
        refused(forged, 3, "frames were refused, none was taken")
        summary = json.loads(forged.stdout)
        assert summary["frames"] == summary["lost"] == summary["losses"] == 0 and summary["refused"]["wrong MAC"] > 5
        refused(here("run", "--source", "0", "--key-file", key), 2, "a key is for the stream of an edgeguard sensor")
        key.chmod(0o644)
        refused(here("run", "--source", url, "--key-file", key), 2, "others can read the key file")
    finally:
        node.send_signal(signal.SIGTERM)
        assert node.wait(10) == 0


def test_what_a_sensor_refuses(tmp_path: Path) -> None:
    camera = ("--source", "synthetic:cards?fps=5")
    refused(here("sensor", *camera, "--guard", "none"), 2, "without a guard is just a camera")
    refused(here("sensor", *camera), 2, "Missing option '--guard'")
    refused(here("sensor", "--guard", "fd-jpeg"), 2, "say where frames come from")
    refused(here("sensor", *camera, "--guard", "fd-jpeg", "--listen", "0.0.0.0:0"), 2, "give --token-file")
    refused(here("sensor", "--source", "synthetic:cards", "--guard", "fd-jpeg"), 2, "is not a camera")
    refused(here("sensor", "--camera", 97, "--guard", "fd-jpeg"), 3, "camera 97 is not there")


@pytest.mark.parametrize(("off_s", "clock"), [(0.0, "source"), (500.0, "received"), (-500.0, "received")])
def test_a_sensors_wrong_clock_does_not_make_ages(scene: NDArray[np.uint8], off_s: float, clock: str) -> None:
    with http_server(_sealing(scene, [off_s] * 3)) as url:
        items = list(open_source(url, key=KEY).frames())
    assert [item.time_source for item in items if isinstance(item, Captured)] == [clock] * 3


def test_a_clock_that_is_set_back_looks_like_a_delay(scene: NDArray[np.uint8]) -> None:
    with http_server(_sealing(scene, [0.0, 0.0, -500.0])) as url:
        items = list(open_source(url, key=KEY).frames())
    assert [type(item) for item in items] == [Captured, Captured, Lost]
    assert isinstance(items[2], Lost) and "held back for 500.0 s" in items[2].reason


def _sealing(scene: NDArray[np.uint8], clocks: list[float]) -> Callable[[socket.socket, bytes], None]:
    """A sensor that sends a frame for each of these errors of its clock, in seconds."""

    def serve(connection: socket.socket, request: bytes) -> None:
        nonce = request.split(b"nonce=")[1][:32].decode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n")
        for number, off_s in enumerate(clocks):
            seal = Seal(number, time.time() + off_s, nonce, FD_JPEG.sha256)
            connection.sendall(part(seal_jpeg(encode_jpeg(scene, FD_JPEG), seal, KEY)))
        connection.sendall(b"--frame--\r\n")

    return serve
