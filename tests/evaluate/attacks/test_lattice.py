"""The lattice attack: what it believes of a guard is what the guard does, and it beats the attacks that do not know."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgeguard.dct.color import Color
from edgeguard.dct.integer_dct import inverse_dct
from edgeguard.demo.assets import bundled_model
from edgeguard.differentiable.block_lattice import BlockLattice
from edgeguard.differentiable.crop_resize import CropResize, part_that_is_read
from edgeguard.differentiable.guard_layer import to_frames, to_levels
from edgeguard.differentiable.guarded_victim import GuardedVictim
from edgeguard.differentiable.lattice_step import LatticeBudget
from edgeguard.differentiable.surrogates import surrogate_codec
from edgeguard.evaluate import twin
from edgeguard.evaluate.attacks import attack, is_wrong
from edgeguard.evaluate.twin import Twin
from edgeguard.guard import GuardProfile, certificate
from edgeguard.jpeg.tables import corner_table
from edgeguard.model.contract import ContractGuard, InputSpec, Preprocess
from edgeguard.preprocess.crop_resize import sanitize
from edgeguard.scene.views import render, stand_in_views
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.codec_network import CodecNetwork

PROFILES = [
    GuardProfile.preset("fd"),
    GuardProfile("gray", "gray", (corner_table(24, 32),)),
    GuardProfile.preset("jpeg:75"),
    replace(GuardProfile.preset("jpeg:75"), color="ycbcr422"),
    replace(GuardProfile.preset("jpeg:75"), color="ycbcr444"),
]
by_color = pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.color)


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint8]:
    """Two smooth pictures with noise and clipped parts."""
    rng = np.random.default_rng(3)
    small = rng.uniform(-40, 295, (2, 8, 9, 3))
    large = small.repeat(6, 1).repeat(6, 2)[:, :43, :50] + rng.normal(0, 6, (2, 43, 50, 3))
    return large.clip(0, 255).round().astype(np.uint8)


@by_color
def test_units_are_cut_and_joined(profile: GuardProfile, frames: NDArray[np.uint8]) -> None:
    levels = to_levels(frames)
    lattice = BlockLattice(profile, *levels.shape[2:])
    assert torch.equal(lattice.join(lattice.split(levels, replicate=True)), levels)


def test_indices_are_those_of_the_guard(frames: NDArray[np.uint8]) -> None:
    profile, levels = GuardProfile.preset("fd"), to_levels(frames[:1])
    lattice = BlockLattice(profile, *levels.shape[2:])
    units = lattice.split(levels, replicate=True)[0]
    found = lattice.indices(units, lattice.steps).numpy().astype(np.int32)
    blocks = inverse_dct(found.T.reshape(8, 8, -1), lattice.steps.numpy().astype(np.int32).T.reshape(8, 8, -1))
    shown = lattice.join(torch.from_numpy(blocks.reshape(64, -1).T.astype(np.float32).copy())[None])
    assert np.array_equal(to_frames(shown)[0], sanitize(frames[0], profile))


@by_color
def test_coefficients_and_residuals_agree_with_real_arithmetic(
    profile: GuardProfile, frames: NDArray[np.uint8]
) -> None:
    lattice = BlockLattice(profile, *frames.shape[1:3])
    units = lattice.split(to_levels(frames), replicate=True).flatten(0, 1)
    steps = lattice.steps.repeat(2, 1)
    indices, residuals = lattice.residuals(units, steps)
    tolerance = (
        0.5 if profile.color == "rgb" else 5.0
    )  # luma and chroma are rounded to levels: .29 in each of 64 values
    assert (indices * steps + residuals - lattice.coefficients(units)).abs().max() < tolerance
    assert (residuals.abs() <= steps / 2).all()


@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_one_pass_with_room_is_exact(color: Color, frames: NDArray[np.uint8]) -> None:
    """The guard maps levels before its transform: indices, reach and gain are those of the mapped levels."""
    profile = replace(GuardProfile.preset("proof-1"), color=color, proof_levels=0)
    images = to_levels(frames[:1])
    height, width = images.shape[2:]
    lattice = BlockLattice(profile, height, width, profile.room)
    units = lattice.split(images, replicate=True)[0]
    steps = lattice.steps
    found = lattice.indices(units, steps).numpy().astype(np.int32)
    planes = found.T.reshape(8, 8, -1), steps.numpy().astype(np.int32).T.reshape(8, 8, -1)
    blocks = torch.from_numpy(inverse_dct(*planes, room=profile.room).reshape(64, -1).T.astype(np.float32))
    if color == "rgb":
        assert np.array_equal(to_frames(lattice.join(blocks[None]))[0], sanitize(frames[0], profile))
    indices, residuals = lattice.residuals(units, steps)
    real = lattice.coefficients(units)
    assert (indices * steps + residuals - real).abs().max() < (0.5 if color == "rgb" else 5.0)
    budget = LatticeBudget(profile, images, 3, profile.room)
    chosen = torch.arange(len(budget.base))
    for seed in range(4):
        slope = torch.randn(budget.indices.shape, generator=torch.Generator().manual_seed(seed))
        best = budget.best(slope, chosen)
        assert ((best.moved > 0) <= budget.feasible[0]).all() and ((best.moved < 0) <= budget.feasible[1]).all()
        assert torch.equal(best.moved, lattice.indices(budget.base + best.change, steps) - budget.indices)


def test_victims_say_in_which_pass_they_leave_room() -> None:
    contract = twin(bundled_model()).contract
    profile = GuardProfile.preset("proof-1")
    behind = {
        place: Twin(torch.nn.Identity(), replace(contract, guard=ContractGuard(profile, place)), place)
        for place in ("frame", "input")
    }
    assert behind["frame"].room == 0, "what travels has the room"
    assert behind["input"].room == profile.room
    assert CodecNetwork(torch.nn.Identity(), TrainingCodec("proof-1")).room == profile.room
    assert CodecNetwork(torch.nn.Identity(), TrainingCodec("none")).room == 0


@by_color
def test_the_gradient_by_indices_is_the_one_by_pixels(profile: GuardProfile) -> None:
    """Straight through the whole codec, or by way of the indices: the same direction in pixels."""
    generator = torch.Generator().manual_seed(0)
    levels = (60 + 130 * torch.rand((1, 3, 32, 48), generator=generator)).requires_grad_(True)
    weights = torch.randn((1, 3, 32, 48), generator=generator)
    direct = torch.autograd.grad((surrogate_codec(levels, profile, "straight-through") * weights).sum(), levels)[0]
    lattice = BlockLattice(profile, 32, 48)
    by_index = lattice.join((lattice.index_gradient(weights) / lattice.steps) @ lattice.basis)
    alike = torch.cosine_similarity(direct.flatten(), by_index.flatten(), dim=0)
    assert alike > (0.999 if profile.color in ("rgb", "gray", "ycbcr444") else 0.95)


@by_color
@pytest.mark.parametrize("eps", [1, 4])
def test_moves_keep_the_budget_and_do_what_they_say(profile: GuardProfile, frames: NDArray[np.uint8], eps: int) -> None:
    images = to_levels(np.stack([sanitize(frame, profile) for frame in frames]))
    budget = LatticeBudget(profile, images, eps)
    slope = torch.randn(budget.indices.shape, generator=torch.Generator().manual_seed(1))
    chosen = torch.arange(len(budget.base))
    best = budget.best(slope, chosen)
    assert (best.change.abs() <= eps).all() and (best.change == best.change.round()).all()
    changed = budget.base + best.change
    assert changed.min() >= 0 and changed.max() <= 255
    assert torch.equal(best.moved, budget.lattice.indices(changed, budget.steps) - budget.indices)
    assert torch.allclose(best.gain, (best.moved * slope).sum(1))
    if eps == 4:
        assert (best.gain > 0).float().mean() > 0.5


def test_nothing_moves_more_than_the_bounds_say(frames: NDArray[np.uint8]) -> None:
    """Random changes, the worst patterns and the attack's own against what is said to be impossible."""
    profile = GuardProfile.preset("fd")
    images = to_levels(np.stack([sanitize(frame, profile) for frame in frames]))
    for eps in (1, 2, 3):
        budget = LatticeBudget(profile, images, eps)
        chosen = torch.arange(len(budget.base))
        generator = torch.Generator().manual_seed(eps)
        for trial in range(6):
            slope = torch.randn(budget.indices.shape, generator=generator)
            noise = (torch.randint(0, 2, budget.base.shape, generator=generator) * 2 - 1) * eps
            change = budget.best(slope, chosen).change if trial % 2 else torch.minimum(noise, budget.high)
            moved = budget.moved(torch.maximum(change, budget.low), chosen)
            assert ((moved > 0) <= budget.feasible[0]).all() and ((moved < 0) <= budget.feasible[1]).all()
            assert ((moved != 0).sum(1) <= budget.most_flips).all()


def test_budget_is_spent_only_where_the_certificate_allows(scenes: list[NDArray[np.uint8]]) -> None:
    profile = GuardProfile.preset("fd")
    received = sanitize(scenes[0], profile)
    proof = certificate(received, profile)
    assert proof is not None
    for eps in (1, 2):
        budget = LatticeBudget(profile, to_levels(received[None]), eps)
        safe = torch.from_numpy(proof.map > eps).permute(2, 0, 1).flatten()
        assert not (budget.feasible.any(0).any(1) & safe).any()
    assert 0.5 < proof.share_1 < 1


@by_color
def test_only_what_the_crop_reads_is_handled(profile: GuardProfile, scenes: list[NDArray[np.uint8]]) -> None:
    """The guard on the part gives the bytes of the guard on the frame, and the resize reads nothing else."""
    contract = replace(twin(bundled_model()).contract, input=InputSpec(64, 64), preprocess=Preprocess())
    frame = scenes[0]
    part = part_that_is_read(frame.shape[1], frame.shape[0], contract, profile)
    assert part.box.width * part.box.height < frame.shape[0] * frame.shape[1]
    inner = sanitize(np.ascontiguousarray(part.of(frame)), profile)
    whole = CropResize(contract)(to_levels(sanitize(frame, profile)[None]))
    assert torch.equal(CropResize(contract, part)(to_levels(inner[None])), whole)


@pytest.fixture(scope="module")
def cards() -> tuple[Twin, torch.Tensor, torch.Tensor]:
    """The card model behind `fd` on frames, two views after pass 1, and what it takes them for."""
    victim = twin(bundled_model())
    profile = victim.profile
    assert profile is not None and isinstance(victim, GuardedVictim)
    views = [view for view in stand_in_views(12) if view.card in ("left", "priority")]
    images = to_levels(np.stack([sanitize(render(view, 160, 120), profile) for view in views[:2]]))
    with torch.no_grad():
        return victim, images, victim(images).argmax(1)


@pytest.mark.full
def test_it_breaks_two_passes_where_dct_pgd_does_not(cards: tuple[Twin, torch.Tensor, torch.Tensor]) -> None:
    victim, images, labels = cards
    left = {}
    for kind, more in {"lattice": {"restarts": 1}, "dct-pgd": {"bands": 3}}.items():
        found = attack(kind, {"eps_8bit": 4, "steps": 40, **more})(victim, images, labels)
        assert (found - images).abs().max() <= 4 and (found == found.round()).all()
        left[kind] = int((~is_wrong(victim, found, labels)).sum())
    assert left["lattice"] < left["dct-pgd"]


def test_nothing_is_changed_where_nothing_can_be(cards: tuple[Twin, torch.Tensor, torch.Tensor]) -> None:
    victim, images, labels = cards
    coarse = GuardProfile("coarse", "rgb", (tuple(80 for _ in range(64)),))
    flat = torch.full_like(images, 130.0)
    kept = attack("lattice", {"eps_8bit": 2})(victim.guarded(coarse), flat, labels)
    assert torch.equal(kept, flat)


@pytest.mark.full
@pytest.mark.parametrize("profile", PROFILES[:3], ids=lambda profile: profile.color)
def test_one_pass_of_any_color(profile: GuardProfile, cards: tuple[Twin, torch.Tensor, torch.Tensor]) -> None:
    other, images = cards[0].guarded(profile), cards[1]
    with torch.no_grad():
        labels = other(images).argmax(1)
    found = attack("lattice", {"eps_8bit": 12, "steps": 40, "restarts": 1})(other, images, labels)
    assert (found - images).abs().max() <= 12
    assert is_wrong(other, found, labels).any()


def test_without_a_guard_blocks_go_to_the_gradients_sign(cards: tuple[Twin, torch.Tensor, torch.Tensor]) -> None:
    other, images, labels = cards[0].undefended(), cards[1], cards[2]
    found = attack("lattice", {"eps_8bit": 12, "steps": 12, "restarts": 2})(other, images, labels)
    change = found - images
    assert change.abs().max() == 12 and torch.equal(change, change.round())
    assert found.min() >= 0 and found.max() <= 255
    assert is_wrong(other, found, labels).any()
