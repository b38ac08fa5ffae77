"""The stages of one window of sound: pass 1 on arrival, codec and features up to the model's tensor, the model."""

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeguard.audio.path import SoundPath
from edgeguard.camera.source import Captured, Lost, SoundWindow
from edgeguard.errors import InputError
from edgeguard.guard.passes import Pass1, Received
from edgeguard.model.input_path import Prepared
from edgeguard.model.interpreter import Model
from edgeguard.pipeline.heard import Heard, HeardSettings
from edgeguard.pipeline.result import FrameResult, HeardWindow
from edgeguard.pipeline.stages import Arrived, Ready, Stages
from edgeguard.preprocess.geometry import quantize_input

_LEVEL_S = 0.032
_SILENCE_DBFS = -100.0


@dataclass(frozen=True, eq=False)
class ReadyWindow(Ready):
    """A window that is ready for the model.

    Attributes:
        window: the samples, after pass 1 where there is a guard.
        proven: of each frame of the guard, the largest change that pass 2 removes; None where nothing is proven.
    """

    window: SoundWindow
    proven: NDArray[np.int64] | None


class SoundStages(Stages):
    """What is done with each window.

    Args:
        model: that hears sound.
        heard: when a label holds.
        live: pass 1 is ours, in the capture thread. Clips in files had theirs where their samples say so.
    """

    def __init__(self, model: Model, *, heard: HeardSettings, live: bool) -> None:
        audio = model.contract.audio
        assert audio is not None
        self.model, self.other_profile, self.region, self._live = model, 0, None, live
        self._sound = SoundPath(audio)
        self._guard = audio.sound_codec.guard
        self._heard = Heard(heard)

    def pass_one(self, captured: Captured) -> Arrived | Lost:
        """See `Stages.pass_one`; pass 1 of the guard where the samples come from a microphone."""
        window = captured.sound
        if window is None:
            return Lost(captured.index, captured.source, "it is no sound")
        pass1: Pass1 = "none"
        if self._guard is not None and self._live:
            passed = replace(window, samples=self._guard(window.samples))
            captured, pass1 = replace(captured, sound=passed), "run"
        elif self._guard is not None and self._guard.made(window.samples):
            pass1 = "camera"
        return Arrived(captured, Received(None, None, pass1))

    def make_ready(self, arrived: Arrived) -> Ready | Lost:
        """See `Stages.make_ready`."""
        captured, window = arrived.captured, arrived.captured.sound
        assert window is not None
        began = time.perf_counter()
        try:
            coded = self._sound.through_codec(window.samples)
        except InputError as error:
            return Lost(captured.index, captured.source, str(error))
        guarded = time.perf_counter()
        levels = self._sound.levels(coded)
        contract = self.model.contract
        tensor = quantize_input(levels, contract.input, contract.preprocess)
        done = time.perf_counter()
        pass1 = arrived.received.pass1
        passes = 0 if self._guard is None else 1 if pass1 == "none" else 2
        prepared = Prepared(
            tensor=tensor, frame=None, received=arrived.received, size=(levels.shape[1], levels.shape[0]),
            offset=(0, 0), guarded=None, pass1=pass1, passes=passes, decode_ms=(done - guarded) * 1e3,
            sanitize_ms=(guarded - began) * 1e3, profile=None,
        )  # fmt: skip
        proven = self._guard.proven(window.samples) if self._guard is not None and passes == 2 else None
        return ReadyWindow(arrived, prepared, None, window, proven)

    def infer(self, ready: Ready, live: bool, compare: bool) -> FrameResult:
        """See `Stages.infer`; the age counts from the window's last sample."""
        assert isinstance(ready, ReadyWindow)
        captured, prepared, window, proven = ready.arrived.captured, ready.prepared, ready.window, ready.proven
        answer = self._answer(ready)
        start = time.perf_counter()
        prediction = self.model.read(answer.outputs, *prepared.size)
        infer_ms = answer.infer_ms + (time.perf_counter() - start) * 1e3
        level = level_dbfs(window.samples, self._sound.spec.rate_hz)
        holds = self._heard.update(prediction, level_dbfs=level, continues=window.continues)
        return FrameResult(
            frame=captured.index,
            source=captured.source,
            captured_at=captured.captured_at,
            time_source=captured.time_source,
            age_ms=(time.time() - captured.captured_at) * 1e3 if live else None,
            prediction=prediction,
            decode_ms=prepared.decode_ms,
            sanitize_ms=prepared.sanitize_ms,
            infer_ms=infer_ms,
            pass1=prepared.pass1,
            passes=prepared.passes,
            certified_share=None if proven is None else float((proven >= 1).mean()),
            profile=None,
            model=self.model.sha256,
            undefended=None,
            rgb=None,
            certifies=self._guard is not None,
            certified_share_2=None if proven is None else float((proven >= 2).mean()),
            proven=None if proven is None else bool((proven >= 1).all()),
            proven_2=None if proven is None else bool((proven >= 2).all()),
            sound=HeardWindow(window.start_s, level, holds, window.fit, None if proven is None else int(proven.min())),
        )


def level_dbfs(samples: NDArray[np.int16], rate_hz: int) -> float:
    """The level of the loudest 32 ms, in dB below full scale (root mean square); -100 for silence."""
    length = max(int(_LEVEL_S * rate_hz), 1)
    frames = samples[: len(samples) // length * length].reshape(-1, length).astype(np.float64)
    loudest = float((frames**2).mean(1).max()) if len(frames) else 0.0
    return max(10 * float(np.log10(max(loudest, 1e-3) / 32768**2)), _SILENCE_DBFS)
