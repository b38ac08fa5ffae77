"""Whole pictures: what the certificate says of every block that the model reads."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.dct.boxes import Box
from edgeguard.guard import GuardProfile, Sanitizer, certificate, proof_of
from edgeguard.model.contract import Contract, ContractGuard, InputSpec
from edgeguard.model.input_path import InputPath

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
    assert proof.margin_levels == whole.frame_min < 1


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
