import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from camera.streams import http_server, stream
from cli.launch import refused
from commands import here as run
from numpy.typing import NDArray

from edgeguard.guard import GuardProfile, encode_jpeg


def test_boards_and_exports(tmp_path: Path) -> None:
    assert "table_patch   OpenMV N6" in run("firmware", "list").stdout
    assert json.loads(run("firmware", "list", "--json").stdout)["pi5"]["control"] == "table_source"
    assert "zigzag" in run("firmware", "show", "openmv-n6").stdout
    done = run("firmware", "export", "openmv-software", "--guard", "fd-jpeg", "--output", tmp_path / "out")
    assert "NOT EXACT" in done.stdout and "the board codes 4:2:2" in done.stdout  # fd-jpeg is 4:2:0
    refused(done, 1, "openmv-software does not apply fd-jpeg exactly")
    coarsest = run("firmware", "export", "esp32-cam-ov2640", "--guard", "fd-jpeg", "--output", tmp_path / "out")
    refused(coarsest, 1, "else take esp32-software")
    exact = run("firmware", "export", "esp32-software", "--guard", "fd-jpeg", "--output", tmp_path / "out")
    assert exact.returncode == 0 and "(exact)" in exact.stdout
    assert "YQT[64]" in (tmp_path / "out" / "openmv-software.h").read_text()
    refused(
        run("firmware", "show", "openmv"), 2, "do you mean openmv-n6 or openmv-csi or openmv-stm32 or openmv-software?"
    )
    refused(run("firmware", "export", "pi5", "--guard", "fd"), 2, "is no JPEG profile")
    refused(run("firmware", "export", "uvc-webcam", "--guard", "fd-jpeg"), 2, "edgeguard sensor")


def test_probe_and_verify(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    own, other = tmp_path / "own.jpg", tmp_path / "other.jpg"
    own.write_bytes(encode_jpeg(scene, GuardProfile.preset("fd-jpeg")))
    other.write_bytes(encode_jpeg(scene, GuardProfile.preset("jpeg:85")))
    found = json.loads(run("firmware", "probe", own, "--json").stdout)
    assert found["profile"] == "fd-jpeg" and found["quality"] == [None] * 3 and found["tables"][0][:2] == [24, 24]
    text = run("firmware", "probe", other).stdout
    assert "IJG quality: 85" in text and "profile: jpeg:85" in text and "coded twice" in text
    assert "1 frames, all coded with fd-jpeg" in run("firmware", "verify", own, "--guard", "fd-jpeg").stdout
    refused(
        run("firmware", "verify", other, "--guard", "fd-jpeg"), 1, "frame 1 was not coded with fd-jpeg: Y: 64 of 64"
    )
    with http_server(stream([own.read_bytes()] * 30, pause_s=0.01)) as url:
        assert "10 frames, all coded" in run("firmware", "verify", url, "--guard", "fd-jpeg").stdout
    refused(run("firmware", "probe", "synthetic:cards?frames=1"), 2, "its frames are not JPEG")
    own.write_bytes(own.read_bytes()[:200])
    refused(run("firmware", "probe", own), 2, "ends")


@pytest.mark.full
def test_ports(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scene: NDArray[np.uint8]) -> None:
    from camera.vc0706_double import Vc0706Double
    from serial.tools import list_ports

    from edgeguard.cli import firmware

    monkeypatch.setattr("edgeguard.camera.vc0706.protocol._REPLY_S", 0.05)
    with Vc0706Double([encode_jpeg(scene, GuardProfile.preset("jpeg:60"))]) as double:
        there = [SimpleNamespace(device=name, description="n/a") for name in (double.port, "/dev/ttyNONE")]
        monkeypatch.setattr(list_ports, "comports", lambda: there)
        firmware.ports(as_json=True)
    answers = {one["port"]: one["answer"] for one in json.loads(capsys.readouterr().out)}
    assert answers[double.port] == "VC0706 (VC0703 1.00) at 38400 baud"
    assert answers["/dev/ttyNONE"].startswith("there is no serial port /dev/ttyNONE: this machine has ")
    monkeypatch.setattr(list_ports, "comports", lambda: [])
    firmware.ports(as_json=False)
    assert "no serial ports" in capsys.readouterr().out
