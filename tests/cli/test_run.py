"""`edgeguard run` from outside: exit codes, one line on stderr, nothing half-written."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import cv2
import pytest
from camera.streams import HEAD, answer, http_server, part, stream
from cli.launch import LAUNCH, refused, run
from commands import here

from edgeguard.demo.assets import bundled_clip, bundled_model
from edgeguard.guard import GuardProfile


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

    def test_each_line_of_the_terminal_names_its_file(self, folder: Path) -> None:
        done = here("run", "--source", folder)
        shown = [line.split() for line in done.stdout.splitlines()]
        assert [(words[0], words[-1]) for words in shown[:4]] == [(str(n), f"{n}.jpg") for n in range(4)]

    def test_a_reader_that_goes_away(self, folder: Path) -> None:
        command = " ".join([*(f"'{part}'" for part in LAUNCH), "run", "--source", str(folder), "--output", "-"])
        done = subprocess.run(f"{command} | head -n 1", shell=True, capture_output=True, text=True, timeout=120)
        assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr

    @pytest.mark.full
    def test_decode_scale(self, folder: Path) -> None:
        refused(run("run", "--source", folder, "--decode-scale", 3), 2, "--decode-scale is 1, 2 or 4")
        for scale in (1, 2):
            done = run("run", "--source", folder, "--guard", "fd-jpeg", "--decode-scale", scale, "--json")
            assert done.returncode == 0 and json.loads(done.stdout)["frames"] == 4, done.stderr

    def test_it_says_when_numpy_serves(self, folder: Path) -> None:
        command = [*LAUNCH, "run", "--source", str(folder), "--json"]
        environment = {**os.environ, "EDGEGUARD_KERNEL": "numpy"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
        assert done.returncode == 0 and done.stderr.count("numpy sanitizes") == 1
        assert json.loads(done.stdout)["passes"] == 1

    @pytest.mark.full
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
        refused(here("run", "--source", "http://127.0.0.1:1/x"), 3, "cannot be reached: nothing listens on that port")

    def test_full_disk(self, folder: Path) -> None:
        refused(run("run", "--source", folder, "--output", "/dev/full"), 3, "No space left")

    @pytest.mark.parametrize("name", ["gone.tflite", "folder"])
    def test_a_fallback_that_is_not_there_is_said_before_it_is_needed(self, folder: Path, name: str) -> None:
        (folder / "folder").mkdir()
        done = run("run", "--source", folder, "--fallback", folder / name)
        refused(done, 2, f"--fallback {folder / name} is not there, or is no file")

    def test_a_video_that_cannot_be_written_is_said_before_the_first_frame(self, folder: Path) -> None:
        refused(run("run", "--source", folder, "--save", folder / "no" / "v.mp4"), 3, "no is not a folder")

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
        refused(
            run("run", "--source", folder, "--labels", labels), 2, "l.txt for a model with 13 outputs: --labels wants"
        )
        labels.write_text("")
        refused(run("run", "--source", folder, "--labels", labels), 2, "l.txt holds no labels: it wants one a line")
