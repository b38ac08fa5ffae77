"""A model of sound over files and a stand-in for a microphone: labels, losses, what is refused."""

import queue
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from audio.loudness_model import loudness_model
from audio.signals import noise, written

from edgeguard.audio.sources import sound_opener
from edgeguard.camera.source import Applied, Captured, Lost, SoundWindow
from edgeguard.errors import DeviceError, InputError
from edgeguard.model.interpreter import Model, load_model
from edgeguard.pipeline import Pipeline

pytest.importorskip("soundfile", reason="needs the extra audio")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("sound") / "loud.tflite"
    path.write_bytes(loudness_model())
    return load_model(path, threads=1, kinds=("image", "audio"))


def test_a_model_of_sound_is_refused_where_pictures_are_wanted(tmp_path: Path) -> None:
    path = tmp_path / "loud.tflite"
    path.write_bytes(loudness_model())
    with pytest.raises(InputError, match=r"loud.tflite: the model hears sound, and images are wanted"):
        load_model(path)


def test_clips_of_a_folder_get_a_result_each(model: Model, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(written(noise(4000, level=8000.0)))
    (tmp_path / "b.wav").write_bytes(written(np.zeros(4000, np.int16)))
    (tmp_path / "c.wav").write_bytes(b"RIFF")
    assert model.contract.audio is not None
    source = sound_opener(str(tmp_path), model.contract.audio, hop_s=0.1, resample=False)()
    with Pipeline(source, model) as pipeline:
        results = list(pipeline)
    assert [(one.source, one.prediction.label) for one in results] == [("a.wav", "loud"), ("b.wav", "quiet")]
    assert results[0].sound is not None and results[0].sound.heard == "loud"
    assert results[1].sound is not None and results[1].sound.heard is None  # silence
    assert pipeline.counters.lost == 1
    assert "cannot be read as sound" in pipeline.losses[0].reason


class Microphone:
    """A live source that a test feeds; None unplugs it."""

    live, applied, name = True, Applied(), "microphone test"

    def __init__(self) -> None:
        self.given: queue.Queue[np.ndarray | Lost | None] = queue.Queue()
        self.closed = False

    def frames(self) -> Iterator[Captured | Lost]:
        while not self.closed:
            try:
                item = self.given.get(timeout=0.05)
            except queue.Empty:
                continue
            if item is None:
                raise DeviceError("microphone test is gone")
            if isinstance(item, Lost):
                yield item
            else:
                yield Captured(0, self.name, None, None, time.time(), "received", sound=SoundWindow(item))

    def close(self) -> None:
        self.closed = True


def test_a_microphone_that_is_unplugged_comes_back_and_losses_are_counted(model: Model) -> None:
    first, second = Microphone(), Microphone()
    first.given.put(noise(8128, level=8000.0))
    labels = []
    with Pipeline(first, model, reopen=lambda: second) as pipeline:
        for result in pipeline:
            labels.append(result.prediction.label)
            assert result.age_ms is not None and result.age_ms < 5000
            if len(labels) == 1:
                first.given.put(Lost(0, "microphone test", "the driver lost samples"))
                first.given.put(None)
                second.given.put(np.zeros(8128, np.int16))
            else:
                break
    assert labels == ["loud", "quiet"]
    counters = pipeline.counters
    assert (counters.losses, counters.reconnects, counters.lost) == (1, 1, 1)
