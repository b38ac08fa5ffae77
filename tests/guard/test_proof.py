"""Whole pictures: what the certificate says of every block that the model reads."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.dct.boxes import Box
from edgeguard.dct.color import Color
from edgeguard.dct.native_kernel import instruction_sets
from edgeguard.dct.profile import Pass
from edgeguard.dct.provable_rounding import effects
from edgeguard.dct.reference import reference_sanitize
from edgeguard.guard import GuardProfile, Sanitizer, certificate, proof_of
from edgeguard.guard.certificate import measured_margins
from edgeguard.model.contract import Contract, ContractGuard, InputSpec
from edgeguard.model.input_path import InputPath
from edgeguard.preprocess.region import Region

FD = GuardProfile.preset("fd")


def _half_broken() -> NDArray[np.uint8]:
    """Level 120 (a multiple of the DC step) in columns 0..31, level 121 from there on: 4 of the DC's 12 are used up."""
    frame = np.full((32, 64, 3), 120, np.uint8)
    frame[:, 32:] = 121
    return frame


def test_one_block_decides_for_the_picture() -> None:
    frame = np.full((32, 64, 3), 120, np.uint8)
    frame[8:16, 16:24, 1] = 121
    proof, whole = proof_of(frame, FD), certificate(frame, FD)
    assert proof is not None and whole is not None
    assert not proof.proven_at_1 and proof.share_at[1] == 1 - 1 / (4 * 8 * 3) == whole.share_1
    assert 0 <= whole.frame_min - proof.margin_levels < 0.1 and whole.frame_min < 1


def test_only_the_blocks_under_the_region_count() -> None:
    frame = _half_broken()
    inside, touching = proof_of(frame, FD, Box(3, 0, 29, 32)), proof_of(frame, FD, Box(3, 0, 30, 32))
    assert inside is not None and inside.proven_at_1 and not inside.proven_at_2 and inside.share_at[1] == 1
    assert touching is not None and not touching.proven_at_1 and 0 < touching.share_at[1] < 1


def test_shares_fall_with_the_levels(scene: NDArray[np.uint8]) -> None:
    profile = GuardProfile("coarse", "rgb", ((64,) * 64,))
    proof = proof_of(Sanitizer(profile)(scene), profile)
    assert proof is not None and list(proof.share_at) == [1, 2, 3, 4]
    shares = list(proof.share_at.values())
    assert shares == sorted(shares, reverse=True) and shares[2] > 0 == shares[3]  # the DC's half step is 4 * 8


def test_a_region_beside_the_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="touches no block"):
        proof_of(np.zeros((16, 16, 3), np.uint8), FD, Box(16, 0, 8, 8))


def test_ycbcr_has_none(scene: NDArray[np.uint8]) -> None:
    assert proof_of(scene, GuardProfile.preset("fd-jpeg")) is None


def test_the_path_looks_at_the_blocks_that_its_crop_reads() -> None:
    contract = Contract(InputSpec(32, 32), guard=ContractGuard(FD, "frame"))
    path = InputPath(contract)
    frame = np.full((32, 96, 3), 120, np.uint8)  # the crop reads columns 32..63
    frame[:, :32] = 121
    frame[:, 64:] = 121
    proof = path(path.arrive(frame, "run")).proof()
    assert proof is not None and proof.proven_at_1 and proof.share_at[1] == 1
    assert path(path.arrive(frame)).proof() is None  # nobody did pass 1
    frame[8, 40, 0] += 40
    proof = path(path.arrive(frame, "run")).proof()
    assert proof is not None and not proof.proven_at_1


PROVEN = GuardProfile.preset("proof-1")


@pytest.mark.parametrize("region", [None, Region(16, 24, 200, 160)])
@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_the_path_measures_the_same_margins_in_pass_2(
    scene: NDArray[np.uint8], region: Region | None, color: Color
) -> None:
    profile = replace(PROVEN, color=color)
    contract = Contract(InputSpec(64, 48), guard=ContractGuard(profile, "frame"))
    measuring = InputPath(contract, region=region, measure_margins=True)
    prepared = measuring(measuring.capture(scene))
    plain = InputPath(contract, region=region)(measuring.capture(scene))
    assert (prepared.tensor == plain.tensor).all() and plain.margins is None
    assert prepared.proof() == plain.proof() and (proof := prepared.proof()) is not None and proof.share_at[1] > 0.99
    assert (prepared.margins is not None) == bool(instruction_sets())


def test_a_measured_proof_is_the_exact_one(scenes: list[NDArray[np.uint8]]) -> None:
    """The quantizer's own numbers, refined where they decide, prove exactly what the certificate does, or more."""
    for scene in scenes[:4]:
        frame = Sanitizer(FD)(scene, "first")
        proof, exact = proof_of(frame, FD), certificate(frame, FD)
        assert proof is not None and exact is not None
        for levels, share in exact.share_at.items():
            assert proof.share_at[levels] >= share
        assert proof.share_at[1] - exact.share_1 < 0.01
        assert (measured_margins(frame, FD).transpose(1, 2, 0) / 256 <= exact.map + 0.12).all()


def test_no_change_in_transit_alters_a_proven_picture(scenes: list[NDArray[np.uint8]]) -> None:
    """Whole frames, whatever is done to each block: the worst sign patterns and random ones."""
    sanitizer, proven = Sanitizer(PROVEN), 0
    rng = np.random.default_rng(0)
    patterns = np.sign(effects().T.reshape(64, 8, 8).astype(np.int16))
    for scene in scenes[:6]:
        frame = sanitizer(scene, "first")
        proof = sanitizer.proof(frame)
        assert proof is not None
        if not proof.proven_at_1:
            continue
        proven += 1
        expected = sanitizer(frame, "second")
        rows, columns = frame.shape[0] // 8, frame.shape[1] // 8
        for _ in range(8):
            drawn = patterns[rng.integers(0, 64, (rows, columns))] * rng.choice([-1, 1], (rows, columns, 1, 1))
            change = drawn.transpose(0, 2, 1, 3).reshape(rows * 8, columns * 8, 1)
            attacked = np.clip(frame[: rows * 8, : columns * 8] + change, 0, 255).astype(np.uint8)
            assert (sanitizer(attacked, "second") == expected[: rows * 8, : columns * 8]).all()
    assert proven >= 4


def test_levels_come_back(scenes: list[NDArray[np.uint8]]) -> None:
    """What travels keeps its room; pass 2, and one pass alone, give the camera's levels again."""
    sanitizer = Sanitizer(PROVEN)
    for scene in scenes[:2]:
        travels = sanitizer(scene, "first")
        assert travels.min() > 0 and travels.max() < 255
        one, two = sanitizer(scene), sanitizer(travels, "second")
        assert (one == two).mean() > 0.999  # the mended pixels' blocks keep their indices
        assert np.abs(two.astype(int) - scene).mean() < np.abs(Sanitizer(FD)(scene).astype(int) - scene).mean() + 0.3
    for level in (0, 1, 254, 255):
        flat = np.full((16, 16, 3), level, np.uint8)
        assert np.abs(sanitizer(sanitizer(flat, "first"), "second").astype(int) - level).max() <= 3


def test_pass_2_undoes_the_room_only_of_what_pass_1_made(scene: NDArray[np.uint8]) -> None:
    contract = Contract(InputSpec(64, 64), guard=ContractGuard(PROVEN, "frame"))
    path = InputPath(contract, keep_frame=True)
    ours, raw = path(path.capture(scene)), path(path.arrive(scene))
    assert ours.passes == 2 and raw.passes == 1 and ours.frame is not None and raw.frame is not None
    assert (ours.frame == raw.frame).mean() > 0.999
    at_input = InputPath(Contract(InputSpec(64, 64), guard=ContractGuard(PROVEN, "input")))
    plain = InputPath(contract, profile=None)
    levels = plain.levels(plain.arrive(scene))[0].astype(int)
    assert np.abs(at_input.levels(at_input.arrive(scene))[0] - levels).mean() < 12


@pytest.mark.parametrize("which", ["only", "first", "second"])
def test_room_is_near_the_reference(which: Pass, scenes: list[NDArray[np.uint8]]) -> None:
    profile = replace(PROVEN, proof_levels=0)
    for scene in scenes[:3]:
        frame = reference_sanitize(scene, profile, "first") if which == "second" else scene
        exact, ours = reference_sanitize(frame, profile, which), Sanitizer(profile)(frame, which)
        error = (exact.astype(float) - ours) ** 2
        assert 10 * np.log10(255**2 / error.mean()) > 46


@pytest.mark.parametrize(("name", "levels"), [("proof-1", 1), ("proof-2", 2), ("proof-3", 3)])
def test_presets_prove_what_they_say(name: str, levels: int, scenes: list[NDArray[np.uint8]]) -> None:
    profile = GuardProfile.preset(name)
    proofs = [proof_of(Sanitizer(profile)(scene, "first"), profile) for scene in scenes[:6]]
    assert profile.proof_levels == levels
    assert np.mean([proof is not None and proof.share_at[levels] for proof in proofs]) > 0.999
    assert all(proof is not None and not proof.proven_at(levels + 1) for proof in proofs)


def test_a_dc_step_of_40_proves_nothing_at_two_levels(scene: NDArray[np.uint8]) -> None:
    profile = GuardProfile("dc40", "rgb", ((40, *[32] * 63),))
    proof = proof_of(Sanitizer(profile)(scene), profile)
    assert proof is not None and proof.share_at[2] == 0
