"""What an attacker differentiates is what the device computes, and the attacks change samples within their budgets."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from audio.signals import noise, tone

from edgeguard.audio.codebook import Codebook
from edgeguard.audio.codecs import SoundCodec, sound_codec
from edgeguard.audio.frame_guard import FrameGuard, basis, reach
from edgeguard.audio.path import SoundPath
from edgeguard.audio.spec import AudioInput
from edgeguard.audio_training.frame_lattice import FrameLattice, best_moves
from edgeguard.audio_training.kmeans import along_gray_codes
from edgeguard.audio_training.matrix import attack_of
from edgeguard.audio_training.network import SoundNet
from edgeguard.audio_training.victim import SoundVictim, relative_db, soft_levels, unit_of
from edgeguard.evaluate.attacks.external import ArtAttack
from edgeguard.evaluate.attacks.gradient import Fgsm

BOOK = Codebook(along_gray_codes(np.sort(np.random.default_rng(0).integers(0, 256, (16, 4)), axis=0)).astype(np.uint8))
SPECS = {
    "stft": AudioInput(8000, 8128),
    "logmel": AudioInput(8000, 8128, "logmel"),
    "decoded": AudioInput(8000, 8128, "logmel", "vq:16", codebook=BOOK),
    "codes": AudioInput(8000, 8128, "logmel", "vq:16", "codes", BOOK),
}


def _victim(spec: AudioInput, codec: SoundCodec = SoundCodec("none"), unit: int = 1, clips: int = 2) -> SoundVictim:  # noqa: B008
    torch.manual_seed(0)
    network = SoundNet(spec.shape, 3, width=4).eval()
    windows = np.stack([tone(300 * (i + 1), 8192) // 4 + noise(8192, seed=i, level=50.0) for i in range(clips)])
    return SoundVictim(network, spec, codec, windows.astype(np.int16), unit)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("codec", ["none", "dct:280"])
def test_forward_it_is_the_devices_path(name: str, codec: str) -> None:
    spec = SPECS[name]
    victim = _victim(spec, sound_codec(codec))
    device = SoundPath(spec if spec.codebook is not None else replace(spec, codec=codec))
    coded = [sound_codec(codec)(window, 8000)[: spec.samples] for window in victim.clips]
    levels = np.stack([device.levels(one) for one in coded]).transpose(0, 3, 1, 2)
    wanted = victim.network((torch.from_numpy(levels).float() - 128) / 127)
    assert torch.allclose(victim(victim.start), wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["stft", "logmel"])
def test_the_surrogate_of_the_features_is_within_a_rounding(name: str) -> None:
    spec = SPECS[name]
    window = (tone(700, 8128) + noise(8128, level=200.0)).astype(np.int16)
    soft = soft_levels(torch.from_numpy(window[None].astype(np.float32)), spec)[0, 0].numpy()
    exact = SoundPath(spec)(window)[..., 0]
    assert np.abs(soft.clip(0, 255) - exact).max() < 0.6


@pytest.mark.parametrize("name", SPECS)
def test_every_way_of_hearing_has_a_gradient(name: str) -> None:
    victim = _victim(SPECS[name], sound_codec("dct:280"))
    start = victim.start.requires_grad_(True)
    torch.nn.functional.cross_entropy(victim(start), torch.zeros(2, dtype=torch.int64)).backward()
    assert start.grad is not None
    assert torch.isfinite(start.grad).all()
    assert float(start.grad.abs().sum()) > 0


@pytest.mark.parametrize("eps", [8, 32, 128, 1000])
@pytest.mark.parametrize("kind", ["fgsm", "pgd"])
def test_budgets_are_whole_steps_of_sixteen_bits(kind: str, eps: int) -> None:
    attack, unit = attack_of(kind, eps, 3)
    victim = _victim(SPECS["logmel"], unit=unit)
    changed = victim.samples(attack(victim, victim.start, torch.zeros(2, dtype=torch.int64)))
    size = np.abs(changed.astype(int) - victim.clips).max()
    assert eps - unit < size <= eps


@pytest.mark.full
def test_fgsm_is_the_toolboxs() -> None:
    pytest.importorskip("art", reason="needs the extra attack")
    victim = _victim(SPECS["stft"])
    with torch.no_grad():
        labels = victim(victim.start).argmax(1)
    ours = Fgsm(eps_8bit=32)(victim, victim.start, labels)
    theirs = ArtAttack(name="art", kind="FastGradientMethod", parameters={"batch_size": 2}, eps_8bit=32)(
        victim, victim.start, labels
    )
    assert (ours != theirs).float().mean() < 0.01  # where the gradient is nearly nothing
    with torch.no_grad():
        assert torch.equal(victim(ours).argmax(1), victim(theirs).argmax(1))


def test_an_attack_that_knows_the_step_beats_one_that_stays_below_what_is_removed() -> None:
    """In transit, behind pass 1: at the proven budget pass 2 gives the same samples, whatever FGSM finds."""
    guard = sound_codec("dct:280")
    victim = _victim(SPECS["logmel"], guard)
    recorded = np.stack([guard(window, 8000) for window in victim.clips])
    victim = replace(victim, clips=recorded)
    labels = victim(victim.start).argmax(1)
    assert guard.guard is not None and guard.guard.largest_proven == 8
    found = victim.samples(Fgsm(eps_8bit=8)(victim, victim.start, labels))
    assert (found != recorded).any()
    assert all(np.array_equal(guard(one, 8000), kept) for one, kept in zip(found, recorded, strict=True))


def test_the_attack_on_the_grid_changes_what_is_heard() -> None:
    codec = sound_codec("dct:280")
    victim = _victim(SPECS["logmel"], codec)
    labels = victim(victim.start).argmax(1)
    assert codec.guard is not None
    found = FrameLattice(codec.guard, eps_steps=32)(victim, labels)
    assert 0 < np.abs(found.astype(int) - victim.clips).max() <= 32
    assert (replace(victim, clips=found)(victim.start).argmax(1) != labels).all()


@pytest.mark.parametrize("index", [0, 1, 77, 128, 255])
def test_a_move_within_reach_is_made(index: int) -> None:
    """One slope, one index to move: it moves in that direction exactly where A_k eps reaches the middle."""
    guard, eps = FrameGuard(280), 8
    frames = np.random.default_rng(index).integers(-3000, 3000, (40, 256)).astype(np.float32)
    for direction in (1.0, -1.0):
        slope = np.zeros_like(frames)
        slope[:, index] = direction
        changed = frames + best_moves(guard, frames, slope, eps)
        before, after = frames @ basis()[index] / 280, changed @ basis()[index] / 280
        moved = direction * (np.rint(after) - np.rint(before))
        room = 140 - direction * 280 * (before - np.rint(before))
        assert (moved[room < reach()[index] * eps - 1] == 1).all()
        assert (moved[room > reach()[index] * eps] == 0).all()
        assert 0 < (moved == 1).sum() < len(moved)


def test_the_attack_on_the_grid_finds_nothing_within_what_is_removed() -> None:
    """In transit, behind pass 1, at the proven budget: no index can be moved. With four times as much some can."""
    codec = sound_codec("dct:280")
    victim = _victim(SPECS["logmel"], codec)
    recorded = np.stack([codec(window, 8000) for window in victim.clips])
    victim, labels = replace(victim, clips=recorded), victim(victim.start).argmax(1)
    assert codec.guard is not None
    for eps, same in ((8, True), (32, False)):
        found = FrameLattice(codec.guard, eps_steps=eps, rounds=3)(victim, labels)
        heard = np.stack([codec(window, 8000) for window in found])
        assert np.array_equal(heard, recorded) is same


def test_the_attack_on_the_grid_keeps_the_range_of_samples() -> None:
    guard = FrameGuard(280)
    frames = np.where(np.random.default_rng(0).random((3, 256)) < 0.5, -32768.0, 32767.0).astype(np.float32)
    slope = np.random.default_rng(1).normal(size=(3, 256)).astype(np.float32)
    changed = frames + best_moves(guard, frames, slope, 200)
    assert changed.min() >= -32768 and changed.max() <= 32767 and (changed == np.rint(changed)).all()
    assert (changed != frames).any()


def test_units_and_decibels() -> None:
    assert [unit_of(eps) for eps in (1, 127, 128, 254, 255)] == [1, 1, 2, 2, 3]
    clips = np.array([[1000, 0], [5, 5]], np.int16)
    assert relative_db(clips, np.array([[1000, 10], [5, 5]], np.int16)).tolist() == [-40.0, -np.inf]
    with pytest.raises(ValueError, match="5 changes for 2 clips"):
        _victim(SPECS["stft"])(torch.full((5, 1, 1, 8192), 127.0))
