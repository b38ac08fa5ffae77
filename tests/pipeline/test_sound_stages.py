"""A window of sound on its way: pass 1, pass 2, what is proven, the line that is written."""

import json
import time
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from audio.signals import noise, tone

from edgeguard.audio.frame_guard import FrameGuard
from edgeguard.audio.path import SoundPath
from edgeguard.audio.spec import AudioInput
from edgeguard.camera.source import Captured, Lost, SoundWindow
from edgeguard.model.contract import Contract, InputSpec, Preprocess
from edgeguard.model.interpreter import Model
from edgeguard.model.prediction import Prediction, Score
from edgeguard.pipeline.counters import Counters
from edgeguard.pipeline.heard import HeardSettings
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.sound_stages import SoundStages, level_dbfs

GUARDED, PLAIN = AudioInput(8000, 8128, "logmel", "dct:280"), AudioInput(8000, 8128, "logmel")


def _model(audio: AudioInput, seen: list[Any]) -> Model:
    rows, columns, planes = audio.shape
    spec = InputSpec(columns, rows, "uint8", color="GRAY", kind="audio", planes=planes)
    contract = Contract(spec, Preprocess("none", 1.0, mean=(128.0,) * 3, std=(127.0,) * 3), audio=audio)

    def run(tensor: np.ndarray) -> tuple[np.ndarray, ...]:
        seen.append(tensor)
        return (np.array([0.1, 0.9], np.float32),)

    def read(outputs: Any, width: int, height: int) -> Prediction:
        return Prediction((Score("seven", 7, 0.9), Score("nine", 9, 0.1)))

    return cast(Model, SimpleNamespace(contract=contract, run=run, read=read, sha256="0" * 64, waited_s=0.0))


def _through(audio: AudioInput, samples: np.ndarray, *, live: bool) -> tuple[FrameResult, np.ndarray]:
    seen: list[Any] = []
    stages = SoundStages(_model(audio, seen), heard=HeardSettings(), live=live)
    captured = Captured(3, "clip.wav", None, None, time.time(), "received", sound=SoundWindow(samples, 1.5, "padded"))
    arrived = stages.pass_one(captured)
    assert not isinstance(arrived, Lost)
    ready = stages.make_ready(arrived)
    assert not isinstance(ready, Lost)
    return stages.infer(ready, live, False), seen[0]


def test_a_microphones_window_gets_both_passes_and_is_proven() -> None:
    samples = noise(8192, level=1000.0)
    result, tensor = _through(GUARDED, samples, live=True)
    assert (result.pass1, result.passes, result.proven, result.proven_2) == ("run", 2, True, True)
    assert result.sound is not None and result.sound.proven_steps == 8
    once = FrameGuard(280)(samples)
    assert np.array_equal(tensor[0], SoundPath(PLAIN)(once[:8128]))


def test_a_files_window_had_pass_one_where_its_samples_say_so() -> None:
    recorded = FrameGuard(280)(noise(8192, level=1000.0))
    assert _through(GUARDED, recorded, live=False)[0].pass1 == "camera"
    bare, _ = _through(GUARDED, noise(8192, level=1000.0), live=False)
    assert (bare.pass1, bare.passes, bare.proven) == ("none", 1, None)


def test_a_change_in_transit_within_the_budget_leaves_the_tensor_as_it_is() -> None:
    recorded = FrameGuard(280)(noise(8192, level=1000.0))
    change = np.random.default_rng(1).choice([-8, 8], 8192)
    wanted = _through(GUARDED, recorded, live=False)[1]
    assert np.array_equal(_through(GUARDED, (recorded + change).astype(np.int16), live=False)[1], wanted)


def test_without_a_guard_nothing_is_said_of_proofs() -> None:
    result, tensor = _through(PLAIN, tone(500, 8128), live=True)
    line = json.loads(result.to_json())
    assert (line["pass1"], line["passes"], line["certified_share"]) == ("none", 0, None)
    assert "proven" not in line
    assert line["label"] == line["sound"]["heard"] == "seven"
    assert line["sound"]["start_s"] == 1.5 and line["sound"]["fit"] == "padded"
    assert 0 <= line["age_ms"] < 1000
    assert tensor.shape == (1, 62, 40, 1)


def test_the_line_of_a_guarded_window_counts_as_others_do() -> None:
    result, _ = _through(GUARDED, noise(8192, level=1000.0), live=True)
    line = json.loads(result.to_json())
    assert (line["proven"], line["certified_share"], line["sound"]["proven_steps"]) == (True, 1.0, 8)
    counters = Counters()
    counters.add(result)
    assert counters.to_dict()["proven_frames"] == 1


def test_what_is_no_sound_is_lost() -> None:
    stages = SoundStages(_model(PLAIN, []), heard=HeardSettings(), live=True)
    picture = Captured(0, "camera", None, np.zeros((8, 8, 3), np.uint8), 0.0, "received")
    assert isinstance(stages.pass_one(picture), Lost)


def test_levels_in_decibels() -> None:
    assert level_dbfs(np.zeros(8000, np.int16), 8000) == -100
    assert level_dbfs(np.full(8000, 32767, np.int16), 8000) == pytest.approx(0, abs=0.01)
    quiet_then_loud = np.concatenate([np.zeros(7680, np.int16), np.full(256, 3277, np.int16)])
    assert level_dbfs(quiet_then_loud, 8000) == pytest.approx(-20, abs=0.1)
