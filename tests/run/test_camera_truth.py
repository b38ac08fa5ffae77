"""What a run says of its camera: a picture that is frozen, frames that are refused, drivers that hang."""

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from camera.streams import HEAD, http_server, part
from numpy.typing import NDArray

from edgeguard.camera import Captured, Lost, source_opener
from edgeguard.cli import run_report
from edgeguard.demo.assets import bundled_model
from edgeguard.guard import GuardProfile, encode_jpeg
from edgeguard.jpeg.seal import Seal, seal_jpeg, seal_png
from edgeguard.model import ContractGuard, load_model
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.stages import Stages
from edgeguard.pipeline.status import RunStatus
from edgeguard.png.frame import write_png
from edgeguard.preprocess.crop_resize import sanitize
from edgeguard.run.runner import Outcome, run
from edgeguard.run.settings import Settings

KEY = b"k" * 32
FD_JPEG = GuardProfile.preset("fd-jpeg")


class Frozen:
    """A live camera that gives one picture again and again, and another one from a frame on."""

    name, live, applied = "frozen", True, mock.Mock(fps=None, __str__=lambda self: "")

    def __init__(self, until: int) -> None:
        self.until, self.closed = until, threading.Event()

    def frames(self) -> Iterator[Captured | Lost]:
        rgb = np.full((120, 160, 3), 90, np.uint8)
        for index in range(10_000):
            if self.closed.wait(0.02):
                return
            if index >= self.until:
                rgb = np.full((120, 160, 3), index % 200, np.uint8)
            yield Captured(index, self.name, None, rgb, time.time(), "received")

    def close(self) -> None:
        self.closed.set()


@pytest.mark.full
def test_a_frozen_picture_is_an_alarm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="edgeguard")
    settings = Settings(source="x", frames=200, frozen_after=0.5, output=str(tmp_path / "r.jsonl"))
    with mock.patch("edgeguard.run.runner._TICK_S", 0.05):
        outcome = run(settings, load_model(bundled_model()), lambda: Frozen(until=100))
    alarms = [json.loads(line).get("alarms", []) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert alarms[0] == [] and ["frozen"] in alarms and alarms[-1] == [] and outcome.pipeline.counters.losses == 0
    (said,) = [text for text in caplog.messages if text.startswith("ALARM")]
    assert said.startswith("ALARM frozen: the picture has been the same to the last bit for")
    assert "alarm frozen is over" in caplog.messages


@pytest.mark.full
def test_a_frozen_picture_is_not_healthy_and_the_alarm_can_be_switched_off() -> None:
    seen: list[set[str | None]] = [set(), set()]
    for after, reasons in zip((0.3, 0.0), seen, strict=True):
        statuses: list[RunStatus] = []

        def kept(*arguments: Any, found: list[RunStatus] = statuses) -> RunStatus:
            found.append(RunStatus(*arguments))
            return found[0]

        def shown(_: FrameResult, found: list[RunStatus] = statuses, said: set[str | None] = reasons) -> None:
            said.add(found[0].unhealthy(10.0))

        with mock.patch.multiple("edgeguard.run.runner", _TICK_S=0.05, RunStatus=kept):
            settings = Settings(source="x", frames=60, frozen_after=after)
            run(settings, load_model(bundled_model()), lambda: Frozen(10_000), shown=shown)
    assert seen == [{None, "the camera's picture does not change"}, {None}]


def _sensor(scenes: list[NDArray[np.uint8]], tamper: Callable[[bytes, int, str], bytes | None]) -> Any:
    """A sensor's stream, and somebody between it and its receiver."""

    def handle(connection: Any, request: bytes) -> None:
        nonce = request.split(b"nonce=")[1][:32].decode()
        connection.sendall(HEAD)
        for number in range(10_000):
            jpeg = encode_jpeg(scenes[number % len(scenes)], FD_JPEG)
            sealed = seal_jpeg(jpeg, Seal(number, time.time(), nonce, FD_JPEG.sha256), KEY)
            sent = tamper(sealed, number, nonce)
            if sent is not None:
                connection.sendall(part(sent))
            time.sleep(0.01)

    return handle


def _run(url: str, key: bytes, **settings: Any) -> Outcome:
    model = load_model(bundled_model())
    model = model.with_contract(replace(model.contract, guard=ContractGuard(FD_JPEG, "frame")))
    chosen = Settings(source=url, key_file="key", **settings)
    with mock.patch("edgeguard.run.runner._TICK_S", 0.05):
        return run(chosen, model, source_opener(url, key=key))


def test_each_way_to_tamper_is_counted_by_its_name(
    scenes: list[NDArray[np.uint8]], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO, logger="edgeguard")
    kept: list[bytes] = []

    def tamper(sealed: bytes, number: int, nonce: str) -> bytes | None:
        if number == 3:
            kept.append(sealed)
        if number == 10:
            return sealed[:-9] + bytes([sealed[-9] ^ 1]) + sealed[-8:]  # altered
        if number == 11:
            return kept[0]  # an earlier one of this connection
        if number == 12:
            old = seal_jpeg(encode_jpeg(scenes[0], FD_JPEG), Seal(5, time.time(), "ab" * 16, FD_JPEG.sha256), KEY)
            return old  # of another connection
        if number == 13:
            return encode_jpeg(scenes[0], FD_JPEG)  # without a seal
        if number == 14:
            return seal_jpeg(
                encode_jpeg(scenes[0], FD_JPEG)[:900], Seal(14, time.time(), nonce, FD_JPEG.sha256), KEY
            )  # broken at the sensor: that is damage
        return sealed

    with http_server(_sensor(scenes, tamper)) as url:
        outcome = _run(url, KEY, frames=30, output=str(tmp_path / "r.jsonl"))
    counters = outcome.pipeline.counters
    assert counters.refused == {"wrong MAC": 1, "out of order": 1, "replayed": 1, "no seal": 1}
    assert counters.lost == 1 and counters.losses == 0
    summary = counters.to_dict()
    assert summary["refused"] == dict(counters.refused) and summary["pass1"] == "sensor"
    assert summary["why"] == "the sensor's seal proves it: its MAC is your key's"
    text = "\n".join(caplog.messages)
    assert "ALARM refused: frames are refused: 1 wrong MAC" in text and text.count("IS REFUSED") == 4
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    assert any("refused" in json.loads(line).get("alarms", []) for line in lines)


def test_a_wrong_key_does_not_read_like_a_broken_cable(
    scenes: list[NDArray[np.uint8]], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, logger="edgeguard")
    with http_server(_sensor(scenes, lambda sealed, number, nonce: sealed)) as url:
        outcome = _run(url, b"w" * 32, lost_after=0.5, give_up_after=1.0)
    assert outcome.failure is not None and "frames were refused, none was taken" in str(outcome.failure)
    assert "MAC is not the key's" in str(outcome.failure) and outcome.pipeline.counters.losses == 0
    assert outcome.pipeline.counters.refused["wrong MAC"] > 10 and outcome.pipeline.counters.lost == 0
    text = "\n".join(caplog.messages)
    assert "ALL FRAMES ARE REFUSED" in text and "camera lost" not in text and "ALARM refused" in text
    assert text.count("A FRAME OF") == 1
    run_report.report(outcome, as_json=False)
    said = capsys.readouterr().err
    assert "0 frames, " in said and "wrong MAC" in said and "None" not in said, "no time of what never was"


def _of_another_profile(other: GuardProfile, scene: NDArray[np.uint8], seal: Seal) -> bytes:
    """As a sensor with another profile sends it: a JPEG, or levels without loss."""
    if not other.is_pixel_domain:
        return seal_jpeg(encode_jpeg(scene, other), seal, KEY)
    return seal_png(write_png(sanitize(scene, other, "first")), seal, KEY)


@pytest.mark.parametrize("of_sensor", ["jpeg:60", "fd", "proof-1"])
def test_another_profile_is_counted(of_sensor: str, scenes: list[NDArray[np.uint8]]) -> None:
    """In a JPEG and in a PNG, whose levels come without the room of that profile."""
    other = GuardProfile.preset(of_sensor)

    def reseal(sealed: bytes, number: int, nonce: str) -> bytes:
        seal = Seal(number, time.time(), nonce, other.sha256, other.room)
        return _of_another_profile(other, scenes[number % len(scenes)], seal)

    with http_server(_sensor(scenes, reseal)) as url:
        outcome = _run(url, KEY, frames=10)
    counters = outcome.pipeline.counters
    assert counters.other_profile >= 10 and not counters.refused and counters.to_dict()["pass1"] == "none"


@pytest.mark.parametrize("other", ["fd", "proof-1"])
def test_a_png_of_another_profile_is_counted_at_a_guard_of_pixels_too(other: str, scene: NDArray[np.uint8]) -> None:
    """What the sensor and the run agree on is not counted, nor is a PNG without a seal or a run without a guard."""
    model = load_model(bundled_model())

    def counted(png: bytes, guard: str | None) -> int:
        profile = None if guard is None else GuardProfile.preset(guard)
        chosen = ContractGuard() if profile is None else ContractGuard(profile, "frame")
        stages = Stages(
            model.with_contract(replace(model.contract, guard=chosen)),
            keep_frames=False, decode_scale=None, region=None, certify_share=None,
        )  # fmt: skip
        arrived = stages.pass_one(Captured(0, "x", None, None, 0.0, "received", png))
        assert not isinstance(arrived, Lost)
        ready = stages.make_ready(arrived)
        assert not isinstance(ready, Lost) and ready.prepared.passes == (
            0 if guard is None else 2 - stages.other_profile
        )
        return stages.other_profile

    profile = GuardProfile.preset(other)
    png = write_png(sanitize(scene, profile, "first"))
    sealed = seal_png(png, Seal(1, 1.0, "", profile.sha256, profile.room))
    assert counted(sealed, "fd-jpeg") == counted(sealed, "proof-2") == 1
    assert counted(sealed, other) == counted(sealed, None) == 0


_PROGRAM = """
import sys, threading, time
import numpy as np
from edgeguard.camera import Applied, Captured
from edgeguard.demo.assets import bundled_model
from edgeguard.model import load_model
from edgeguard.run.runner import run
from edgeguard.run.settings import Settings
from edgeguard.system.termination import clean_end_on_sigterm

class Hangs:
    name, live, applied = "driver", True, Applied()
    def frames(self):
        for index in range(20):
            time.sleep(0.02)
            yield Captured(index, self.name, None, np.full((120, 160, 3), index, np.uint8), time.time(), "received")
        if sys.argv[1] == "read":
            time.sleep(600)
        if sys.argv[1] == "native":
            import hashlib
            hashlib.pbkdf2_hmac("sha256", b"x", b"y", 10**9)
        time.sleep(0.02 if sys.argv[1] == "end" else 600)
    def close(self):
        time.sleep(600)

opened = []
def opening():
    if opened and sys.argv[1] in ("open", "end"):
        time.sleep(600)
    opened.append(1)
    return Hangs()

with clean_end_on_sigterm():
    def shown(result):
        print(result.frame, flush=True)
    outcome = run(Settings(source="x", lost_after=0.3, output=sys.argv[2]), load_model(bundled_model()), opening,
                  shown=shown, ends=(SystemExit,))
print("ended", outcome.terminated, outcome.pipeline.counters.frames, flush=True)
"""


_SLOW = [pytest.param(where, marks=pytest.mark.full) for where in ("read", "open", "end", "native")]


@pytest.mark.full
@pytest.mark.parametrize("where", ["close", *_SLOW])
def test_sigterm_ends_the_process_whatever_a_driver_does(where: str, tmp_path: Path) -> None:
    output = tmp_path / "r.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, where, str(output)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "15":
            break
    time.sleep(1.0)  # the driver hangs by now, and the camera is lost
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=20)
    assert time.monotonic() - began < 10 and process.returncode == 0, errors
    assert "ended True" in said
    assert len(output.read_text().splitlines()) >= 16
