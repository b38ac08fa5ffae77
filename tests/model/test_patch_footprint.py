"""From a square of the frame to pixels of the model's input: bounds against brute force through the real path."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.guard import GuardProfile
from edgeguard.model.contract import Contract, ContractGuard, Crop, InputSpec, Preprocess
from edgeguard.model.input_path import InputPath
from edgeguard.model.patch_footprint import Footprint

FRAMES = {"larger": (50, 70), "smaller": (20, 26), "equal": (24, 24), "far larger": (113, 150)}
GUARDS = {
    "none": ContractGuard(),
    "fd": ContractGuard(GuardProfile.preset("fd"), "frame"),
    "fd at the input": ContractGuard(GuardProfile.preset("fd"), "input"),
    "fd-jpeg": ContractGuard(GuardProfile.preset("fd-jpeg"), "frame"),
}


def _contract(crop: Crop, guard: ContractGuard) -> Contract:
    return Contract(InputSpec(24, 24), Preprocess(crop=crop, crop_fraction=0.9), guard)


def _tensor(path: InputPath, frame: NDArray[np.uint8]) -> NDArray[np.generic]:
    return path(path.capture(frame)).tensor[0]


@pytest.mark.parametrize("size", FRAMES)
@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("crop", ["center", "letterbox", "none"])
def test_no_pixel_of_the_input_moves_beyond_the_bound(crop: Crop, guard: str, size: str) -> None:
    height, width = FRAMES[size]
    contract = _contract(crop, GUARDS[guard])
    path, bound = InputPath(contract), Footprint.of(contract, width, height)
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = _tensor(path, clean)
    for side in (1, 5):
        for y, x in zip(rng.integers(0, height - side, 12), rng.integers(0, width - side, 12), strict=True):
            patched = clean.copy()
            patched[y : y + side, x : x + side] = rng.choice([0, 255], (side, side, 3))
            moved = np.argwhere((_tensor(path, patched) != before).any(2))
            if len(moved):
                assert (np.ptp(moved, axis=0) + 1 <= bound.side(side)).all()
    assert bound.side(1) <= bound.side(5) <= bound.side(9)
    assert bound.largest(bound.side(5)) >= 5


def test_sizes_by_hand() -> None:
    contract = replace(_contract("none", GUARDS["none"]), preprocess=Preprocess(crop="none"))
    halves = Footprint.of(contract, 48, 48)
    assert [halves.side(patch) for patch in (1, 2, 3, 4)] == [1, 2, 2, 3]
    assert [halves.largest(proven) for proven in (0, 1, 2, 3)] == [0, 1, 3, 5]
    in_blocks = Footprint.of(replace(contract, guard=GUARDS["fd"]), 48, 48)
    assert [in_blocks.side(patch) for patch in (1, 2, 9, 10)] == [4, 8, 8, 12]
    assert in_blocks.largest(3) == 0  # a block is more than what is proven


def test_nothing_is_proven_in_the_frame_behind_a_patch_guard() -> None:
    contract = _contract("none", ContractGuard(patch="lgs"))
    with pytest.raises(InputError, match="the patch guard lgs may look anywhere"):
        Footprint.of(contract, 48, 48)
