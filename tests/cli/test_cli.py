"""The command line from outside: exit codes, one line on stderr, nothing half-written."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera.streams import HEAD, answer, http_server, part, stream
from commands import here
from numpy.typing import NDArray
from pictures import read_bgr

from edgeguard.demo.assets import bundled_clip, bundled_model
from edgeguard.guard import GuardProfile, encode_jpeg

LAUNCH = [sys.executable, "-c", "from edgeguard.cli.main import main; main()"]


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [*LAUNCH, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=cwd)


def refused(done: subprocess.CompletedProcess[str], code: int, message: str) -> None:
    """Exit code, and the last line (the only one of ours that is an error) says what is wrong."""
    assert done.returncode == code, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("edgeguard: ") and message in last and "Traceback" not in done.stderr, done.stderr


@pytest.fixture
def folder(tmp_path: Path, scenes: list[NDArray[np.uint8]]) -> Path:
    path = tmp_path / "frames"
    path.mkdir()
    for i, scene in enumerate(scenes[:4]):
        (path / f"{i}.jpg").write_bytes(encode_jpeg(scene, GuardProfile.preset("jpeg:90")))
    return path


class TestHelp:
    @pytest.mark.parametrize(
        "command",
        [
            [],
            ["convert"],
            ["run"],
            ["demo"],
            ["doctor"],
            ["sensor"],
            *([["firmware", c] for c in ("list", "show", "export", "probe", "verify", "ports")]),
            ["config", "show"],
            ["config", "check"],
            ["config", "schema"],
            ["config", "table"],
            ["service", "install"],
            ["bench"],
            ["guard"],
            ["model", "show"],
            ["model", "verify"],
            *([["guard", c] for c in ("design", "show", "apply", "bake", "certify")]),
        ],
    )
    def test_each_has_help_with_an_example(self, command: list[str]) -> None:
        done = run(*command, "--help")
        assert done.returncode == 0 and "Usage:" in done.stdout
        assert "Example: edgeguard" in done.stdout or command == ["guard"]

    def test_version_and_usage_errors(self) -> None:
        assert run("--version").stdout.startswith("edgeguard 0.")
        refused(run("run", "--sorce", "x"), 2, "No such option")
        refused(run("nonsense"), 2, "nonsense")
        refused(run("convert"), 2, "Missing argument")


class TestRun:
    def test_default_model_on_the_bundled_clip(self, tmp_path: Path) -> None:
        output = tmp_path / "r.jsonl"
        done = run(
            "run", "--source", bundled_clip(), "--output", output, "--save", tmp_path / "v.mp4", "--compare", "--json"
        )
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        lines = [json.loads(line) for line in output.read_text().splitlines()]
        assert summary["frames"] == len(lines) == 24 and summary["passes"] == 2 and summary["pass1"] == "run"
        assert [line["label"] for line in lines] == ["stop"] * 8 + ["left"] * 8 + ["yield"] * 8
        assert all(line["certified_share"] > 0.8 and line["undefended"] for line in lines)
        assert lines[0]["model"] == hashlib.sha256(bundled_model().read_bytes()).hexdigest()
        assert cv2.VideoCapture(str(tmp_path / "v.mp4")).read()[0]

    def test_json_lines_on_stdout_and_the_summary_on_stderr(self, folder: Path) -> None:
        done = run("run", "--source", folder, "--output", "-")
        assert done.returncode == 0
        assert [json.loads(line)["source"] for line in done.stdout.splitlines()] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
        assert "4 frames" in done.stderr and "passes: 1" in done.stderr and "one pass counts" in done.stderr

    def test_a_reader_that_goes_away(self, folder: Path) -> None:
        command = " ".join([*(f"'{part}'" for part in LAUNCH), "run", "--source", str(folder), "--output", "-"])
        done = subprocess.run(f"{command} | head -n 1", shell=True, capture_output=True, text=True, timeout=120)
        assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr

    def test_decode_scale(self, folder: Path) -> None:
        refused(run("run", "--source", folder, "--decode-scale", 3), 2, "--decode-scale is 1, 2 or 4")
        for scale in (1, 2):
            done = run("run", "--source", folder, "--guard", "fd-jpeg", "--decode-scale", scale, "--json")
            assert done.returncode == 0 and json.loads(done.stdout)["frames"] == 4, done.stderr

    def test_it_says_when_numpy_serves(self, folder: Path) -> None:
        command = [*LAUNCH, "run", "--source", str(folder), "--json"]
        environment = {**os.environ, "EDGEGUARD_KERNEL": "numpy"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
        assert done.returncode == 0 and done.stderr.count("numpy sanitises") == 1
        assert json.loads(done.stdout)["passes"] == 1

    def test_saving_the_video_does_not_change_the_labels(self, folder: Path, tmp_path: Path) -> None:
        """With --save the frame is made whole, without it the tensor comes from one pass over the received frame."""
        found = []
        for guard in ("fd", "fd-jpeg"):
            for extra in ([], ["--save", tmp_path / "v.mp4"]):
                done = run("run", "--source", folder, "--guard", guard, "--output", "-", *extra)
                lines = [json.loads(line) for line in done.stdout.splitlines()]
                found.append([(line["index"], line["score"]) for line in lines])
            assert found[-1] == found[-2] and len(found[-1]) == 4

    def test_a_patch_guard(self, folder: Path) -> None:
        done = run("run", "--source", folder, "--patch-guard", "lgs")
        assert done.returncode == 0 and "patch guard lgs: marked" in done.stderr, done.stderr
        refused(run("run", "--source", folder, "--patch-guard", "magic"), 2, "no patch guard 'magic'")

    def test_no_camera(self) -> None:
        refused(run("run", "--camera", 97), 3, "camera 97 is not there")

    def test_sources_that_are_none(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "x.mp4").write_bytes(b"no video" * 99)
        (tmp_path / "zero.jpg").touch()
        refused(here("run"), 2, "--camera N or --source X")
        refused(here("run", "--source", "a", "--camera", 0), 2, "one of them")
        refused(here("run", "--source", tmp_path / "missing.jpg"), 2, "is not there")
        refused(here("run", "--source", tmp_path / "empty"), 2, "holds no images")
        refused(here("run", "--source", tmp_path / "x.mp4"), 2, "not a video")
        refused(here("run", "--source", tmp_path / "zero.jpg"), 2, "is empty")

    def test_models_that_are_none(self, tmp_path: Path, folder: Path) -> None:
        (tmp_path / "cut.tflite").write_bytes(bundled_model().read_bytes()[:60_000])
        (tmp_path / "text.tflite").write_text("hello")
        refused(here("run", tmp_path / "cut.tflite", "--source", folder), 2, "truncated")
        refused(here("run", tmp_path / "text.tflite", "--source", folder), 2, "not a .tflite")
        refused(here("run", tmp_path / "no.tflite", "--source", folder), 2, "cannot read the model")

    def test_swapped_files_are_refused(self, folder: Path) -> None:
        digest = hashlib.sha256(bundled_model().read_bytes()).hexdigest()
        profile = GuardProfile.preset("fd").sha256
        assert here("run", "--source", folder, "--require-model", digest, "--require-guard", profile).returncode == 0
        refused(here("run", "--source", folder, "--require-model", "0" * 64), 2, "not the required model")
        refused(here("run", "--source", folder, "--require-guard", "0" * 64), 2, "not the required one")
        refused(
            here("run", "--source", folder, "--guard", "fd-paper", "--require-guard", profile),
            2,
            "not the required one",
        )

    def test_an_image_that_does_not_decode_is_skipped_and_counted(self, folder: Path) -> None:
        (folder / "1.jpg").write_bytes(b"\xff\xd8 nonsense")
        (folder / "2.png").write_bytes(b"nonsense")
        done = run("run", "--source", folder, "--output", "-")
        refused(done, 1, "2 frames could not be read, the first: 1.jpg")
        assert len(done.stdout.splitlines()) == 3

    def test_a_stream_that_dies_keeps_what_it_gave(self, folder: Path, tmp_path: Path) -> None:
        jpeg, visits = (folder / "0.jpg").read_bytes(), []

        def dies(connection: socket.socket, _: bytes) -> None:
            visits.append(1)
            if len(visits) > 1:
                return
            connection.sendall(HEAD + part(jpeg))
            time.sleep(1)
            connection.sendall(b"--frame\r\nContent-Length: 999999\r\n\r\nhalf")

        output = tmp_path / "r.jsonl"
        with http_server(dies) as url:
            done = run("run", "--source", url, "--output", output, "--give-up-after", 1)
        refused(done, 3, "cannot be reached")
        assert "camera lost" in done.stderr and "ended in mid-frame" in done.stderr and len(visits) > 2
        assert len(output.read_text().splitlines()) == 1

    def test_urls_that_answer_wrongly(self) -> None:
        with http_server(answer(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>")) as url:
            refused(here("run", "--source", url), 3, "answers with text/html")
        refused(here("run", "--source", "http://127.0.0.1:1/x"), 3, "cannot be reached")

    def test_full_disk(self, folder: Path) -> None:
        refused(run("run", "--source", folder, "--output", "/dev/full"), 3, "No space left")

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
    def test_signals_end_cleanly(self, folder: Path, tmp_path: Path, number: int, code: int) -> None:
        jpegs = [path.read_bytes() for path in sorted(folder.iterdir())] * 200
        output = tmp_path / "r.jsonl"
        with http_server(stream(jpegs, pause_s=0.05)) as url:
            process = subprocess.Popen(
                [*LAUNCH, "run", "--source", url, "--output", str(output)],
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background shells ignore it
            )
            deadline = time.monotonic() + 60
            while (not output.exists() or output.stat().st_size == 0) and time.monotonic() < deadline:
                time.sleep(0.05)
            os.kill(process.pid, number)
            _, stderr = process.communicate(timeout=30)
        assert process.returncode == code, stderr
        assert "Traceback" not in stderr and all(json.loads(line) for line in output.read_text().splitlines())

    def test_labels_and_guard_for_a_model(self, folder: Path, tmp_path: Path) -> None:
        labels = tmp_path / "l.txt"
        labels.write_text("\n".join(f"c{i}" for i in range(13)))
        done = run("run", "--source", folder, "--labels", labels, "--guard", "none", "--output", "-")
        first = json.loads(done.stdout.splitlines()[0])
        assert first["label"].startswith("c") and first["passes"] == 0 and first["profile"] is None
        labels.write_text("one\ntwo")
        refused(run("run", "--source", folder, "--labels", labels), 2, "2 labels for a model with 13 outputs")


class TestGuard:
    def test_show_and_draw(self, tmp_path: Path) -> None:
        done = here("guard", "show", "jpeg:75", "--output", tmp_path / "t.png", "--json")
        assert json.loads(done.stdout)["sha256"] == GuardProfile.preset("jpeg:75").sha256
        picture = read_bgr(tmp_path / "t.png")
        assert picture.shape[1] > 900 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
        assert "24   24   24   24   32" in here("guard", "show", "fd").stdout
        refused(here("guard", "show", "fdd"), 2, "no guard preset 'fdd'")
        refused(here("guard", "show", "none"), 2, "absence of a guard")

    def test_design_apply_certify(self, folder: Path, tmp_path: Path) -> None:
        profile, clean, chart = tmp_path / "mine.toml", tmp_path / "clean.png", tmp_path / "map.png"
        assert here("guard", "design", folder, "--output", profile, "--by", "sigma", "--as-bands", 15).returncode == 0
        assert GuardProfile.load(profile).tables[0].count(24) == 15
        done = here("guard", "apply", folder / "0.jpg", "--guard", profile, "--output", clean, "--json")
        assert 25 < json.loads(done.stdout)["psnr_db"] < 60
        done = here("guard", "certify", clean, "--guard", profile, "--output", chart, "--json")
        assert json.loads(done.stdout)["share_1"] > 0.8 and read_bgr(chart).size
        assert json.loads(here("guard", "certify", folder / "0.jpg", "--json").stdout)["share_1"] < 0.2
        assert json.loads(here("guard", "certify", folder / "0.jpg", "--first-pass", "--json").stdout)["share_1"] > 0.8
        refused(here("guard", "certify", clean, "--guard", "fd-jpeg"), 2, "has no certificate")

    def test_bad_input(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "bad.toml").write_text("schema = 1\ncolour = 'rgb'\n")
        refused(here("guard", "show", tmp_path / "bad.toml"), 2, "bad.toml:2: unknown key 'colour'")
        refused(here("guard", "apply", tmp_path / "no.jpg", "--output", tmp_path / "x.png"), 2, "cannot read")
        refused(here("guard", "apply", folder / "0.jpg", "--output", tmp_path / "x.jpg"), 2, "write a .png")
        refused(here("guard", "apply", folder / "0.jpg", "--output", tmp_path / "no" / "x.png"), 3, "cannot write")
        refused(here("guard", "design", tmp_path / "none", "--output", tmp_path / "p.toml"), 2, "not a folder")
        assert not (tmp_path / "x.jpg").exists() and not (tmp_path / "p.toml").exists()


class TestBench:
    def test_table_and_json(self, folder: Path) -> None:
        done = here("bench", "--seconds", 0.2)
        assert done.returncode == 0 and "sanitise to tensor" in done.stdout and "temperature" in done.stdout
        done = here("bench", "--guard", "fd-jpeg", "--image", folder / "0.jpg", "--seconds", 0.2, "--json")
        report = json.loads(done.stdout)
        assert any(t["stage"].startswith("JPEG to tensor") for t in report["timings"]), done.stderr

    def test_bad_input(self, tmp_path: Path) -> None:
        refused(here("bench", "--guard", "none"), 2, "bench times a guard")
        refused(here("bench", "--image", tmp_path / "missing.jpg"), 2, "cannot read")
        (tmp_path / "x.jpg").write_bytes(b"no picture")
        refused(here("bench", "--image", tmp_path / "x.jpg"), 2, "does not decode")


@pytest.mark.convert
class TestBake:
    def test_writes_a_model_that_runs(self, tmp_path: Path) -> None:
        done = here("guard", "bake", "--size", "64x48", "--output", tmp_path / "s.tflite")
        assert done.returncode == 0 and "64x48, one-pass" in done.stdout, done.stderr
        from ai_edge_litert.interpreter import Interpreter

        model = Interpreter(str(tmp_path / "s.tflite"))
        assert list(model.get_input_details()[0]["shape"]) == [1, 48, 64, 3]

    def test_what_cannot_be_baked(self, tmp_path: Path) -> None:
        target = tmp_path / "s.tflite"
        refused(here("guard", "bake", "--guard", "fd-jpeg", "--size", 64, "--output", target), 2, "only rgb profiles")
        refused(here("guard", "bake", "--size", 60, "--output", target), 2, "multiples of 8")
        refused(here("guard", "bake", "--guard", "none", "--size", 64, "--output", target), 2, "none")
        refused(run("convert", bundled_model(), "--guard", "none", "--bake-guard"), 2, "leaves nothing to bake")
        refused(run("convert", bundled_model(), "--place", "in-graph"), 2, "--bake-guard")
        assert not target.exists()


@pytest.mark.convert
class TestModel:
    def test_show(self, tmp_path: Path) -> None:
        done = here("model", "show", bundled_model())
        assert done.returncode == 0 and "uint8 1x128x128x3" in done.stdout and "all 29 operators map" in done.stdout
        fields = json.loads(here("model", "show", bundled_model(), "--json").stdout)
        assert fields["contract"]["guard"]["passes"] == 2 and fields["sha256"] in done.stdout
        (tmp_path / "x.tflite").write_bytes(b"nothing")
        refused(here("model", "show", tmp_path / "x.tflite"), 2, "not a .tflite")
        refused(here("model", "show", tmp_path / "y.tflite"), 2, "cannot read")

    def test_verify(self, tmp_path: Path) -> None:
        from edgeguard.model.contract import read_contract
        from edgeguard.model.flatbuffer import ModelFile
        from edgeguard_converters.verify.manifest import make_manifest, write_manifest

        file, manifest = tmp_path / "m.tflite", tmp_path / "m.json"
        file.write_bytes(bundled_model().read_bytes())
        contract = read_contract(ModelFile(file.read_bytes()))
        assert contract is not None
        write_manifest(manifest, make_manifest(file, contract))
        assert here("model", "verify", file, "--manifest", manifest).returncode == 0
        swapped = bytearray(file.read_bytes())
        swapped[len(swapped) // 2] ^= 1  # one weight
        file.write_bytes(swapped)
        refused(here("model", "verify", file, "--manifest", manifest), 1, "SHA-256")
        manifest.write_text("[]")
        refused(here("model", "verify", file, "--manifest", manifest), 2, "not a manifest")
        refused(here("model", "verify", file, "--manifest", tmp_path / "none.json"), 2, "cannot read")


def test_doctor() -> None:
    done = run("doctor")
    assert done.returncode == 0 and "ai-edge-litert" in done.stdout and "->" in done.stdout
    assert {finding["status"] for finding in json.loads(run("doctor", "--json").stdout)} <= {"ok", "note"}


@pytest.mark.convert
class TestConvert:
    def test_bare_convert_of_our_own_program(self, tmp_path: Path) -> None:
        from edgeguard.demo.assets import bundled_program
        from edgeguard.model import load_model

        model = tmp_path / "model.pt2"
        model.write_bytes(bundled_program().read_bytes())
        done = run("convert", model)
        assert done.returncode == 0, done.stderr
        assert "NO --calibrate FOLDER" in done.stderr and "agreement" in done.stdout
        contract = load_model(tmp_path / "model.tflite").contract
        assert contract.guard.profile == GuardProfile.preset("fd") and not contract.preprocess.guessed
        assert sorted(p.name for p in tmp_path.iterdir()) == ["model.pt2", "model.tflite"]

    def test_refusals(self, tmp_path: Path) -> None:
        from edgeguard.demo.assets import bundled_program

        (tmp_path / "empty.pt").touch()
        (tmp_path / "none").mkdir()
        refused(run("convert", tmp_path / "missing.pt"), 2, "is not there")
        done = run("convert", tmp_path / "empty.pt")
        refused(done, 2, "is empty")
        assert len(done.stderr.splitlines()) == 1
        refused(
            run("convert", bundled_program(), "--calibrate", tmp_path / "none", "--output", tmp_path / "x.tflite"),
            2,
            "no images",
        )
        refused(run("convert", bundled_program(), "--size", "big"), 2, "--size wants")
        refused(run("convert", bundled_program(), "--crop", "top"), 2, "--crop wants")
        refused(
            run(
                "convert",
                bundled_program(),
                "--mean",
                "0.5,0.5,0.5",
                "--std",
                "0.2,0.2,0.2",
                "--output",
                tmp_path / "x.tflite",
            ),
            2,
            "0..255 units",
        )
        assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.pt", "none"]

    @pytest.mark.full
    def test_a_failed_gate_is_a_negative_verdict(self, tmp_path: Path) -> None:
        from edgeguard.demo.assets import bundled_program

        refused(run("convert", bundled_program(), "--min-snr", 99, "--output", tmp_path / "x.tflite"), 1, "SNR gate")
        assert not list(tmp_path.iterdir())


def test_cards_to_print(tmp_path: Path) -> None:
    assert run("demo", "--cards", tmp_path / "cards.pdf").returncode == 0
    pdf = (tmp_path / "cards.pdf").read_bytes()
    boxes = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+)", pdf)
    assert pdf.startswith(b"%PDF") and len(boxes) == 12
    assert all(abs(float(w) - 595.3) < 1 and abs(float(h) - 841.9) < 1 for w, h in boxes)  # A4, points
    refused(run("demo", "--cards", tmp_path / "cards.png"), 2, "wants a .pdf")


@pytest.mark.convert
@pytest.mark.full
def test_demo_writes_what_it_promises(tmp_path: Path) -> None:
    done = run("demo", "--output", tmp_path / "d", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(r["path"], r["correct"], r["n"]) for r in rows] == [
        ("undefended", 24, 24), ("two passes", 24, 24),
        ("undefended", 0, 3), ("two passes", 3, 3), ("two passes", 0, 3),
    ]  # fmt: skip
    document = json.loads((tmp_path / "d/results.json").read_text())
    assert document["threat_model"] == "transit" and len(document["clip"]) == 24 and document["attack_computed_here"]
    assert read_bgr(tmp_path / "d/contact-sheet.png").shape[0] > 800
    assert cv2.VideoCapture(str(tmp_path / "d/demo.mp4")).read()[0]
