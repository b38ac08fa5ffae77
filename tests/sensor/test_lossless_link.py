"""Pass 1 without loss: a sensor, a link, somebody on it, and pass 2 at its end."""

import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from camera.streams import http_server, part, stream
from cli.launch import LAUNCH
from commands import here
from numpy.typing import NDArray
from sensor.link_attacker import LinkAttacker
from sensor.test_node import Live

from edgeguard.camera import Captured, Lost, open_source
from edgeguard.camera.source import Unchanged
from edgeguard.dct.dct_basis import DCT
from edgeguard.demo.assets import bundled_model
from edgeguard.guard import GuardProfile, Sanitizer, encode_jpeg
from edgeguard.jpeg.seal import Seal, read_seal, seal_png
from edgeguard.model import ContractGuard, Model, load_model
from edgeguard.model.input_path import InputPath
from edgeguard.pipeline import Pipeline
from edgeguard.png.frame import read_png, read_png_info, write_png
from edgeguard.sensor.node import CodedFrame, SensorNode, code

FD, GRAY = GuardProfile.preset("fd"), GuardProfile("gray", "gray", GuardProfile.preset("fd").tables)
#: Steps so coarse that a rendered frame away from 0 and 255 is proven at two levels before, and at one after a change.
COARSE = GuardProfile("coarse", "rgb", ((64,) * 64,))
#: The finest steps for one level, with room and with the rounding that helps: it proves any frame.
PROOF = GuardProfile.preset("proof-1")
KEY = b"k" * 32
Frame = NDArray[np.uint8]


class Scenes(Live):
    """A live camera of several scenes in turn."""

    def __init__(self, scenes: list[Frame]) -> None:
        super().__init__(scenes[0])
        self.scenes = scenes

    def frames(self) -> Iterator[Captured | Lost]:
        for item in super().frames():
            assert isinstance(item, Captured)
            yield replace(item, rgb=self.scenes[item.index % len(self.scenes)])


@pytest.fixture(scope="module")
def muted(scenes: list[Frame]) -> list[Frame]:
    """Scenes whose levels keep away from 0 and 255, where pass 1's output would be clipped."""
    return [(64 + scene // 2).astype(np.uint8) for scene in scenes]


def _model(profile: GuardProfile) -> Model:
    model = load_model(bundled_model())
    return model.with_contract(replace(model.contract, guard=ContractGuard(profile, "frame")))


def _node(scenes: list[Frame], profile: GuardProfile, key: bytes | None = None) -> SensorNode:
    source = Scenes(scenes)
    return SensorNode(source, lambda: source, profile, host="127.0.0.1", port=0, key=key)


def _take(url: str, count: int, key: bytes | None = None) -> list[Captured | Lost | Unchanged]:
    source, items = open_source(url, key=key), list[Captured | Lost | Unchanged]()
    for item in source.frames():
        items.append(item)
        if len(items) == count:
            break
    source.close()
    return items


@pytest.mark.parametrize("profile", [FD, GRAY], ids=["rgb", "gray"])
def test_pass_one_of_raw_and_coded_frames_is_the_sanitizers(scene: Frame, profile: GuardProfile) -> None:
    jpeg = encode_jpeg(scene, GuardProfile.preset("jpeg:90"))
    for captured in (
        Captured(3, "x", None, scene, 1.0, "received"),
        Captured(3, "x", jpeg, None, 1.0, "received"),
        Captured(3, "x", None, None, 1.0, "received", write_png(scene)),
    ):
        coded = code(captured, profile)
        assert isinstance(coded, CodedFrame) and (coded.levels is not None and coded.levels.ndim) == (
            2 if profile.color == "gray" else 3
        )
        levels = read_png(read_png_info(coded.data))
        assert (levels == Sanitizer(profile)(captured.decode())).all()
    assert isinstance(code(Captured(3, "x", jpeg[:100], None, 1.0, "received"), profile), Lost)
    assert isinstance(code(Captured(3, "x", None, None, 1.0, "received", b"\x89PNG"), profile), Lost)


@pytest.mark.parametrize("key", [None, KEY], ids=["without a key", "with a key"])
def test_frames_arrive_level_for_level_with_the_seal_of_their_number(scenes: list[Frame], key: bytes | None) -> None:
    with _node(scenes, FD, key) as node:
        items = _take(node.url, 4, key)
    for item in items:
        assert isinstance(item, Captured) and item.png is not None and item.jpeg is None and item.rgb is None
        assert item.time_source == ("source" if key else "received")
        seal = read_seal(read_png_info(item.png))
        assert seal is not None and seal.profile == FD.sha256
        assert (item.decode() == Sanitizer(FD)(scenes[seal.sequence % len(scenes)])).all()


def _attacks() -> list[NDArray[np.int16]]:
    """Changes of one level that move one coefficient of every block as far as can be, and random ones."""
    patterns = [np.ones((8, 8), np.int16)]
    patterns += [np.where(np.outer(DCT[u], DCT[v]) >= 0, 1, -1).astype(np.int16) for u, v in ((0, 1), (4, 4), (3, 2))]
    return [sign * pattern for pattern in patterns for sign in (1, -1)]


def _one_level(frame: Frame, number: int) -> Frame:
    height, width, _ = frame.shape
    attacks = _attacks()
    if number % 3 == 0:
        change = np.random.default_rng(number).integers(-1, 2, frame.shape).astype(np.int16)
    else:
        change = np.tile(attacks[number % len(attacks)], (height // 8, width // 8))[:, :, None]
    return np.clip(frame.astype(np.int16) + change, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("profile", "here_too"), [(COARSE, True), (PROOF, False)], ids=["coarse", "proof table"])
def test_a_change_of_one_level_on_the_link_never_reaches_the_tensor_of_a_proven_frame(
    scenes: list[Frame], muted: list[Frame], profile: GuardProfile, here_too: bool
) -> None:
    """Behind a real proxy. What the sensor sent is proven, or what arrived: each of the two is enough."""
    path, proven_there, proven_here = InputPath(_model(profile).contract), 0, 0
    shown = scenes if profile.room else muted
    with _node(shown, profile) as node, LinkAttacker(node.url, _one_level) as attacker:
        items = _take(attacker.url, 16)
        for item in items:
            assert isinstance(item, Captured) and item.png is not None
            seal = read_seal(read_png_info(item.png))
            assert seal is not None
            sent, arrived = attacker.sent[seal.sequence], path(path.capture(item.contents))
            assert (item.decode() != sent).mean() > 0.5 and (arrived.pass1, arrived.passes) == ("sensor", 2)
            unattacked = path(path.arrive(sent, "sensor"))
            there, here = unattacked.proof(), arrived.proof()
            assert there is not None and here is not None
            if there.proven_at_1 or here.proven_at_1:
                assert (arrived.tensor == unattacked.tensor).all()
            proven_there += there.proven_at_1
            proven_here += here.proven_at_1
    assert proven_there == len(items) and (proven_here > len(items) // 2 or not here_too)


def test_more_than_what_is_proven_gets_through(muted: list[Frame]) -> None:
    """What the test above could not see if the tensor never changed."""

    def brighter(frame: Frame, number: int) -> Frame:
        return np.clip(frame.astype(np.int16) + 6, 0, 255).astype(np.uint8)

    path = InputPath(_model(COARSE).contract)
    with _node(muted, COARSE) as node, LinkAttacker(node.url, brighter) as attacker:
        (item,) = _take(attacker.url, 1)
        assert isinstance(item, Captured) and item.png is not None
        seal = read_seal(read_png_info(item.png))
        assert seal is not None
        unattacked = path(path.arrive(attacker.sent[seal.sequence], "sensor"))
        assert (path(path.capture(item.contents)).tensor != unattacked.tensor).any()


def test_certified_blocks_of_a_frame_that_is_not_proven_stay_as_well(scenes: list[Frame]) -> None:
    """With `fd`, block by block."""
    from edgeguard.guard import certificate
    from edgeguard.jpeg.blocks import split_blocks

    sanitizer = Sanitizer(FD)
    with _node(scenes, FD) as node, LinkAttacker(node.url, _one_level) as attacker:
        items = _take(attacker.url, 6)
        for item in items:
            assert isinstance(item, Captured) and item.png is not None
            seal = read_seal(read_png_info(item.png))
            assert seal is not None
            sent = attacker.sent[seal.sequence]
            same = (split_blocks(sanitizer(item.decode())) == split_blocks(sanitizer(sent))).all(axis=(0, 1))
            for frame in (sent, item.decode()):
                found = certificate(frame, FD)
                assert found is not None and same[found.map > 1].all()


def test_with_a_mac_each_changed_frame_is_refused(muted: list[Frame]) -> None:
    with _node(muted, COARSE, KEY) as node, LinkAttacker(node.url, _one_level) as attacker:
        items = _take(attacker.url, 6, KEY)
    assert all(
        isinstance(i, Lost) and i.reason == "the frame is forged or damaged: its MAC is not the key's" for i in items
    )
    with _node(muted, COARSE, KEY) as node, LinkAttacker(node.url, lambda frame, number: frame) as attacker:
        items = _take(attacker.url, 6, KEY)
    assert all(isinstance(item, Captured) for item in items)  # coded again to the same bytes: nothing was changed


def test_run_says_pass_one_sensor_two_passes_and_proven(muted: list[Frame]) -> None:
    model = _model(COARSE)
    with _node(muted, COARSE) as node, Pipeline(open_source(node.url), model) as pipeline:
        results = []
        for result in pipeline:
            results.append(result.to_dict())
            if len(results) == 12:
                break
    assert {(r["pass1"], r["passes"]) for r in results} == {("sensor", 2)}
    looked_at = [r for r in results if r["proven"] is not None]
    assert looked_at and all(r["proven"] is True and r["certified_share"] == 1.0 for r in looked_at)
    summary = pipeline.counters.to_dict()
    assert summary["proven_frames"] == summary["certified_frames"] == len(looked_at)
    assert summary["why"] == "the sensor says so in the seals of its frames"


def test_another_profile_than_the_sensors_counts_once(muted: list[Frame], tmp_path: Path) -> None:
    data = seal_png(write_png(Sanitizer(COARSE)(muted[0])), Seal(1, 0.0, "", COARSE.sha256))
    (tmp_path / "a.png").write_bytes(data)
    for profile, pass1, passes in ((COARSE, "sensor", 2), (FD, "none", 1), (GuardProfile.preset("fd-jpeg"), "none", 1)):
        with Pipeline(open_source(tmp_path), _model(profile)) as pipeline:
            (result,) = pipeline
        assert (result.pass1, result.passes) == (pass1, passes)
        assert (result.proven is None) == (passes == 1) and result.certifies == profile.is_pixel_domain
    with Pipeline(open_source(tmp_path), load_model(bundled_model()).with_contract(
        replace(load_model(bundled_model()).contract, guard=ContractGuard())
    )) as pipeline:  # fmt: skip
        (result,) = pipeline
    assert result.passes == 0 and "proven" not in result.to_dict()


def test_room_is_undone_where_pass_two_does_not(muted: list[Frame], tmp_path: Path) -> None:
    """A model of another profile, one without a guard and the undefended path see the camera's levels."""
    roomy = replace(COARSE, name="roomy", room=24)
    data = seal_png(write_png(Sanitizer(roomy)(muted[0], "first")), Seal(1, 0.0, "", roomy.sha256, roomy.room))
    expected = Sanitizer(roomy)(muted[0]).astype(np.int16)
    own, other = InputPath(_model(roomy).contract), InputPath(_model(COARSE).contract)
    bare = InputPath(_model(roomy).contract, profile=None)
    for path in (other, bare):
        for received in (path.capture(data), path.arrive(data)):
            assert received.pass1 == "none" and np.abs(received.decode() - expected).max() <= 1
    received = own.capture(data)
    assert received.pass1 == "sensor" and (own.frame(received) == expected).all()
    assert np.abs(received.decode().astype(np.int16) - expected).max() > 5


def test_stored_frames_of_a_sensor_keep_their_pass_one(muted: list[Frame], tmp_path: Path) -> None:
    """A folder as the recorder writes it; a damaged file is lost, and an image without a seal is a raw frame."""
    sealed = [
        seal_png(write_png(Sanitizer(COARSE)(f)), Seal(n, 0.0, "", COARSE.sha256)) for n, f in enumerate(muted[:3])
    ]
    for number, data in enumerate(sealed):
        (tmp_path / f"{number}.png").write_bytes(data)
    (tmp_path / "3.png").write_bytes(sealed[0][:-40])
    broken = bytearray(write_png(muted[0]))
    info = read_png_info(bytes(broken))
    damaged = seal_png(_with_pixels(muted[0], b"x" * len(info.packed)), Seal(4, 0.0, "", COARSE.sha256))
    (tmp_path / "4.png").write_bytes(damaged)
    (tmp_path / "5.png").write_bytes(write_png(muted[3]))
    with Pipeline(open_source(tmp_path), _model(COARSE)) as pipeline:
        results = [(r.frame, r.pass1) for r in pipeline]
    assert results == [(0, "sensor"), (1, "sensor"), (2, "sensor"), (5, "run")]
    assert [(lost.source, lost.reason) for lost in pipeline.losses] == [
        ("3.png", "broken PNG: it ends early"), ("4.png", "broken PNG: its pixels are damaged"),
    ]  # fmt: skip


def _with_pixels(frame: Frame, packed: bytes) -> bytes:
    from edgeguard.png.frame import EXTRA_AT, chunk

    return write_png(frame)[:EXTRA_AT] + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def test_a_stream_of_unsealed_and_broken_frames_is_lost_frame_by_frame(muted: list[Frame]) -> None:
    good = seal_png(write_png(Sanitizer(COARSE)(muted[0])), Seal(1, 0.0, "", COARSE.sha256))
    pngs = [good, write_png(muted[0]), good[:-30], good[:200] + b"?" + good[201:], b"\x89PNG\r\n\x1a\n", good]
    with http_server(stream(pngs)) as url:
        items = list(open_source(url).frames())
    assert [type(item) for item in items] == [Captured, Lost, Lost, Lost, Lost, Captured]
    assert [item.reason for item in items if isinstance(item, Lost)] == [
        "a PNG without the seal of an edgeguard sensor", "broken PNG: it ends early", "broken PNG: a checksum is wrong",
        "a PNG without the seal of an edgeguard sensor",
    ]  # fmt: skip


def test_a_frame_is_coded_once_for_all_receivers_and_not_without_one(scenes: list[Frame]) -> None:
    from unittest import mock

    from edgeguard.sensor import node as module

    coded = list[Frame]()

    def counted(levels: Frame) -> bytes:
        coded.append(levels)
        return write_png(levels)

    with mock.patch.object(module, "write_png", counted), _node(scenes, FD) as node:
        time.sleep(0.3)
        assert coded == []
        takers = [threading.Thread(target=_take, args=(node.url, 5)) for _ in range(3)]
        for taker in takers:
            taker.start()
        for taker in takers:
            taker.join(20)
        assert len(coded) >= 5 and len({id(levels) for levels in coded}) == len(coded)


def test_a_frame_that_is_too_large_for_receivers_is_told_once(scenes: list[Frame], said: list[str]) -> None:
    from unittest import mock

    with mock.patch("edgeguard.sensor.node.MAX_PART_BYTES", 10_000), _node(scenes, FD) as node:
        with socket.create_connection(("127.0.0.1", int(node.url.split(":")[2].split("/")[0])), 5) as receiver:
            receiver.sendall(b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert b"200" in receiver.recv(100)
            time.sleep(0.4)
    assert len([line for line in said if "are not sent: receivers take" in line]) == 1 and node.sent == 0


def test_the_commands_together(tmp_path: Path) -> None:
    """`edgeguard sensor --guard fd`, and `edgeguard run` behind it, with and without the key."""
    key = tmp_path / "key"
    key.write_text("k" * 32)
    key.chmod(0o600)
    command = ["sensor", "--source", "synthetic:cards?fps=20&width=320&height=240", "--guard", "fd"]
    node = subprocess.Popen(
        [*LAUNCH, *command, "--listen", "127.0.0.1:0", "--key-file", str(key)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert node.stderr is not None
        line = next(text for text in node.stderr if "/stream" in text)
        assert "PNG without loss, with a MAC" in line
        url = line.split(",")[0].removeprefix("edgeguard: ")
        options = ("--guard", "fd", "--frames", 5, "--output", tmp_path / "r.jsonl")
        done = here("run", "--source", url, "--key-file", key, *options)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(text) for text in (tmp_path / "r.jsonl").read_text().splitlines()]
        assert {(r["pass1"], r["passes"], r["time_source"]) for r in lines} == {("sensor", 2, "source")}
        assert all({"proven", "proven_2", "certified_share_2"} <= r.keys() for r in lines)
        said = done.stdout + done.stderr
        assert "pass 1: sensor, passes: 2" in said and "proven at +-1 level: " in said
        assert "the sensor's frames: PNG without loss, 320x240" in said or len(lines) == 5
    finally:
        node.send_signal(signal.SIGTERM)
        assert node.wait(10) == 0


def test_on_one_box_the_summary_says_that_nothing_travelled(tmp_path: Path, scene: Frame) -> None:
    (tmp_path / "a.png").write_bytes(write_png(scene))
    done = here("run", "--source", tmp_path, "--guard", "fd", "--output", tmp_path / "r.jsonl")
    assert done.returncode == 0 and "nothing traveled between the passes" in done.stdout + done.stderr


def test_a_bombs_part_ends_no_stream(muted: list[Frame]) -> None:
    """16 MB of zeros that claim to be a small frame: lost when its pixels are wanted, and the next one counts."""
    import zlib

    from edgeguard.png.frame import EXTRA_AT, chunk

    good = seal_png(write_png(Sanitizer(COARSE)(muted[0])), Seal(2, 0.0, "", COARSE.sha256))
    head = write_png(muted[0])[:EXTRA_AT]
    bomb = head + chunk(b"IDAT", zlib.compress(bytes(16 << 20), 1)) + chunk(b"IEND", b"")
    sealed = seal_png(bomb, Seal(1, 0.0, "", COARSE.sha256))

    def serve(connection: socket.socket, request: bytes) -> None:
        stream([sealed, good], pause_s=0.5)(connection, request)

    assert len(part(sealed)) < 100_000
    with http_server(serve) as url, Pipeline(open_source(url), _model(COARSE), every_frame="wait") as pipeline:
        results = []
        for result in pipeline:
            results.append(result)
            break
    assert [r.frame for r in results] == [1] and pipeline.counters.lost >= 1
