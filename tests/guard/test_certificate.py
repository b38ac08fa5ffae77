import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.dct.dct_basis import DCT, GAIN
from edgeguard.dct.integer_dct import coefficient_error_bound
from edgeguard.guard import GuardProfile, Sanitizer, certificate
from edgeguard.jpeg.blocks import join_blocks, split_blocks

FD = GuardProfile.preset("fd")


def test_gains_are_those_of_the_basis() -> None:
    a = np.array([2.828, 2.563, 2.613, 2.563, 2.828, 2.563, 2.613, 2.563])
    assert np.abs(GAIN - np.outer(a, a)).max() < 4e-3 and GAIN[0, 0] == pytest.approx(8)


def _worst_changes(eps: int) -> list[NDArray[np.int16]]:
    """For each coefficient the sign pattern that moves it most, both signs, and random signs; 8x8 each."""
    rng = np.random.default_rng(3)
    patterns = [np.where(np.outer(DCT[u], DCT[v]) > 0, eps, -eps) for u in range(8) for v in range(8)]
    patterns += [-p for p in patterns] + [rng.choice([-eps, eps], (8, 8)) for _ in range(40)]
    return [p.astype(np.int16) for p in patterns]


@pytest.mark.parametrize("eps", [1, 2])
@pytest.mark.parametrize("name", ["fd", "fd-paper", "coarse"])
def test_certified_blocks_survive_the_worst_change(scene: NDArray[np.uint8], eps: int, name: str) -> None:
    profile = GuardProfile("c", "rgb", ((48,) * 64,)) if name == "coarse" else GuardProfile.preset(name)
    sanitizer = Sanitizer(profile)
    received = sanitizer(scene)
    proof = certificate(received, profile)
    assert proof is not None
    safe = proof.map > eps
    assert (safe.mean() == (proof.share_1 if eps == 1 else proof.share_2)) and proof.frame_min == proof.map.min()
    out = split_blocks(sanitizer(received))
    for pattern in _worst_changes(eps):
        change = np.tile(pattern, (received.shape[0] // 8, received.shape[1] // 8))[:, :, None]
        attacked = np.clip(received + change, 0, 255).astype(np.uint8)
        same = (split_blocks(sanitizer(attacked)) == out).all(axis=(0, 1))
        assert same[safe].all()


def test_fd_certifies_most_blocks_of_its_own_output(scenes: list[NDArray[np.uint8]]) -> None:
    proofs = [certificate(Sanitizer(FD)(scene), FD) for scene in scenes]
    assert np.mean([p.share_1 for p in proofs if p]) > 0.9
    assert all(p is not None and p.share_2 == 0 for p in proofs)  # (12 - 0) / 8 = 1.5 levels at the DC


def test_a_raw_frame_or_another_grid_earns_little(scene: NDArray[np.uint8]) -> None:
    raw = certificate(scene, FD)
    shifted = certificate(np.ascontiguousarray(Sanitizer(FD)(scene)[4:-4, 4:-4]), FD)
    assert raw is not None and raw.share_1 < 0.2 and shifted is not None and shifted.share_1 < 0.2


def test_margin_of_a_flat_block() -> None:
    """DC 24 on level 120: exactly a multiple, so the margin is half a step less the kernel's error, over 8."""
    proof = certificate(np.full((8, 8, 3), 120, np.uint8), FD)
    assert proof is not None and 1.4 < proof.frame_min <= 1.5
    assert join_blocks(np.zeros((8, 8, 1, 1, 3), np.uint8)).shape == (8, 8, 3)


def test_ycbcr_has_none(scene: NDArray[np.uint8]) -> None:
    assert certificate(scene, GuardProfile.preset("fd-jpeg")) is None


def test_gray_is_certified_too(scene: NDArray[np.uint8]) -> None:
    profile = GuardProfile("g", "gray", FD.tables)
    proof = certificate(Sanitizer(profile)(scene), profile)
    assert proof is not None and proof.map.shape[2] == 1 and proof.share_1 > 0.85


@pytest.mark.parametrize("name", ["fd", "fd-paper"])
def test_margins_are_float64_ones_less_their_own_error(scenes: list[NDArray[np.uint8]], name: str) -> None:
    """Never above what float64 proves, and hardly below."""
    profile = GuardProfile.preset(name)
    steps = np.array(profile.component_tables, np.float64).reshape(3, 8, 8).transpose(1, 2, 0)[:, :, None, None]
    for scene in scenes[:4]:
        frame = Sanitizer(profile)(scene)[:201, :303]
        padded = np.pad(frame, ((0, -201 % 8), (0, -303 % 8), (0, 0)), mode="edge").astype(np.float64)
        blocks = padded.reshape(26, 8, 38, 8, 3)
        found = np.einsum("ui,aibjc,vj->uvabc", DCT, blocks, DCT)
        residual = np.abs(found - steps * np.round(found / steps))
        bound = coefficient_error_bound()[:, :, None, None, None]
        exact = ((steps / 2 - residual - bound) / GAIN[:, :, None, None, None]).min(axis=(0, 1))
        margins = certificate(frame, profile)
        assert margins is not None and (margins.map <= exact + 1e-9).all() and (margins.map >= exact - 0.01).all()
