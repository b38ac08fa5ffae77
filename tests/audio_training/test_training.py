"""Training on sound: what is learned, folds, resuming, what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audio.signals import noise, written
from audio_training.digits import small_data

pytest.importorskip("soundfile", reason="needs the extra audio")

from edgeguard.audio_training.config import SoundConfig, checked_config, read_config
from edgeguard.audio_training.data import read_sound, speaker_of
from edgeguard.audio_training.network import SoundNet
from edgeguard.audio_training.restore import restored_sound
from edgeguard.audio_training.run import train_sound
from edgeguard.errors import CheckFailed, InputError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_data(tmp_path_factory.mktemp("tones"))


def _config(data: Path, **changed: Any) -> SoundConfig:
    base = SoundConfig(data=str(data), epochs=3, batch=16, width=4, features="logmel", learning_rate=0.01)
    return replace(base, **changed)


@pytest.mark.full
def test_codes_of_a_codebook_are_learned_and_come_back_from_the_folder(data: Path, tmp_path: Path) -> None:
    config = _config(data, codec="vq:16", input="codes", first_layer="binary", epochs=6)
    (found,) = train_sound(config, tmp_path)
    assert found.hits >= 20  # of 24
    assert found.spec.codebook is not None
    again = restored_sound(tmp_path)
    assert again.spec == found.spec
    answers = json.loads((tmp_path / "answers.json").read_text())
    assert sum(a == t for a, t in zip(answers["answers"], answers["targets"], strict=True)) == found.hits
    assert isinstance(again.network, SoundNet)
    weights = again.network.features[0].weight
    assert isinstance(weights, torch.Tensor)
    assert all(len(filter_.abs().unique()) == 1 for filter_ in weights)


@pytest.mark.full
def test_a_training_that_is_interrupted_ends_like_one_that_is_not(data: Path, tmp_path: Path) -> None:
    config = _config(data)
    train_sound(config, tmp_path / "whole")

    def stop(what: str, done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    from edgeguard.audio_training.loop import SoundTrainer

    saved = SoundTrainer.run

    with pytest.MonkeyPatch.context() as patch:

        def interrupted(self: SoundTrainer, progress: object = None) -> object:
            try:
                return saved(self, stop)
            except KeyboardInterrupt:
                self.save()
                raise

        patch.setattr(SoundTrainer, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_sound(config, tmp_path / "halves")
    train_sound(config, tmp_path / "halves")
    one, other = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "halves"))
    assert all(torch.equal(one["weights"][name], other["weights"][name]) for name in one["weights"])
    with pytest.raises(InputError, match="belongs to another configuration"):
        train_sound(replace(config, seed=1), tmp_path / "halves")


@pytest.mark.full
def test_each_speaker_is_left_out_once(data: Path, tmp_path: Path) -> None:
    found = train_sound(_config(data, leave_out="all", epochs=1), tmp_path)
    assert [one.folder.name for one in found] == ["ann", "bob"]
    assert [one.n for one in found] == [36, 36]
    ann = read_sound(_config(data, leave_out="ann"))
    assert {speaker_of(name) for name in ann.test.names} == {"ann"}
    assert {speaker_of(name) for name in ann.train.names} == {"bob"}


def test_data_that_cannot_be_used(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no clip is eve's; its speakers are ann, bob"):
        read_sound(_config(data, leave_out="eve"))
    with pytest.raises(InputError, match="neither a folder nor a .zip"):
        read_sound(_config(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="holds no classes"):
        read_sound(_config(tmp_path))
    with pytest.raises(InputError, match=r"the model wants 16000 Hz.*or set --rate"):
        read_sound(_config(data, rate=16000))


def test_broken_clips_are_counted_up_to_a_share(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for label in ("a", "b"):
        for index in range(8):
            path = tmp_path / label / f"x_{index}.wav"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(written(noise(2000, seed=index)))
    (tmp_path / "a" / "x_9.wav").write_bytes(written(np.array([np.nan]), subtype="FLOAT"))
    with pytest.raises(InputError, match=r"1 of 17 clips are broken .*x_9.wav \(it holds samples that are not finite"):
        read_sound(_config(tmp_path))
    found = read_sound(_config(tmp_path, bad_clips_at_most=0.1))
    assert len(found.train) + len(found.test) == 16
    assert "1 of 17 clips are broken and left out" in caplog.text


def test_a_loss_that_is_no_number_stops(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diverged = "edgeguard.audio_training.loop.F.cross_entropy"
    monkeypatch.setattr(diverged, lambda out, targets: out.sum() * torch.nan)
    with pytest.raises(CheckFailed, match="the loss is nan at step 1"):
        train_sound(_config(data), tmp_path)
    assert not (tmp_path / "model.pt2").exists()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"input": "codes"}, "--input codes reads the codes of vq:K; --codec none has none"),
        ({"order": "kmeans"}, "--order is for --codec vq:K"),
        ({"data": ""}, "training needs data"),
        ({"codec": "opus:0.5", "rate": 44100}, "opus does not know 44100 Hz"),
    ],
)
def test_configurations_that_do_not_fit_together(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        checked_config(replace(SoundConfig(data="x"), **changed))


def test_a_file_is_read_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "sound.toml"
    path.write_text('[sound]\ncodec = "vq:16"\ninput = "codes"\n[schedule]\nepochs = 2\n')
    config = read_config(path, {"data": "clips/", "epochs": 5})
    assert (config.codec, config.input, config.epochs) == ("vq:16", "codes", 5)
    path.write_text('[sound]\ncodec = "mp4"\n')
    with pytest.raises(InputError, match=r"sound.toml:2: codec is no codec of sound"):
        read_config(path, {"data": "clips/"})
