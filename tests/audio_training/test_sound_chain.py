"""Train, convert, run and the table, each by its command, on three tones."""

import json
from pathlib import Path

import pytest
from audio_training.digits import small_data
from cli.launch import run

pytest.importorskip("soundfile", reason="needs the extra audio")
pytestmark = [pytest.mark.full, pytest.mark.convert]


def test_from_clips_to_lines(tmp_path: Path) -> None:
    data = small_data(tmp_path / "tones")
    options = "[model]\nwidth = 4\n[schedule]\nepochs = 6\nbatch = 16\nlearning_rate = 0.01\n"
    (tmp_path / "small.toml").write_text(options + "[augment]\nshift = false\n")
    how = ("--features", "logmel", "--codec", "vq:16", "--input", "codes")
    trained = run(
        "train", tmp_path / "small.toml", "--task", "audio", "--data", data, *how, "--output", tmp_path / "out"
    )
    assert trained.returncode == 0, trained.stderr
    assert "a clip takes 310 bytes in memory, 16,256 as samples" in trained.stdout
    model = tmp_path / "out" / "model.tflite"
    converted = run("convert", str(tmp_path / "out" / "model.pt2"), "--calibrate", str(data), "--eval", str(data))
    assert converted.returncode == 0, converted.stderr
    assert "codec vq:16" in converted.stdout
    lines = tmp_path / "lines.jsonl"
    heard = run("run", str(model), "--source", str(data / "test" / "high"), "--output", str(lines))
    assert heard.returncode == 0, heard.stderr
    results = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(results) == 8
    assert sum(result["label"] == "high" for result in results) >= 7
    assert all(result["sound"]["fit"] == "padded" for result in results)
    (data / "test" / "high" / "z.mp3").write_bytes(b"no sound")
    broken = run("run", str(model), "--source", str(data / "test" / "high"))
    assert broken.returncode == 1
    assert "1 frames could not be read, the first: z.mp3: it cannot be read as sound" in broken.stderr
    (data / "test" / "high" / "z.mp3").unlink()
    refused = run("run", str(model), "--source", str(data / "test" / "high"), "--guard", "fd")
    assert refused.returncode == 2
    assert "--guard is for models of pictures" in refused.stderr
    bench = run("bench", str(model))
    assert bench.returncode == 2
    assert "the model hears sound, and images are wanted" in bench.stderr
    table = run(
        "evaluate", "matrix", tmp_path / "out", "--images", data, "--output", tmp_path / "table",
        "--limit", "6", "--codec", "none", "--codec", "dct:280", "--eps", "32",
    )  # fmt: skip
    assert table.returncode == 0, table.stderr
    assert "adaptive pgd 32 steps" in table.stdout
    assert "naive pgd 32 steps" in (tmp_path / "table" / "report.html").read_text()
