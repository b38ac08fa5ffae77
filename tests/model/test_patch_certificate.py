"""The certificate against a patch: bounds from the file's graph against brute force on the runtime's integers."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from model.made_regions import LAYERS, Layer, made_regions
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.model import Model, load_model
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.patch_certificate import PatchCertifier
from edgeguard.model.receptive_field import read_vote_map

GRAPHS = {
    "same": LAYERS,
    "valid": (Layer(3, 1, 6, same=False), Layer(2, 2, 6, same=False), Layer(1, 1, 3)),
    "dilated": (Layer(3, 1, 6, dilation=2), Layer(3, 2, 6), Layer(1, 1, 3)),
    "stride 4": (Layer(4, 2, 6), Layer(3, 2, 6), Layer(1, 1, 3)),
}


def _loaded(folder: Path, data: bytes) -> Model:
    path = folder / "regions.tflite"
    path.write_bytes(data)
    return load_model(path, threads=1)


def _votes(model: Model, tensor: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.asarray(model.run_raw(tensor[None])[1], np.int64)


@pytest.mark.parametrize("name", GRAPHS)
def test_only_votes_move_that_the_graph_says(tmp_path: Path, name: str) -> None:
    """Any pixels inside of a square, at every place: votes outside of the bound stay, and the bound is reached."""
    data = made_regions(GRAPHS[name])
    model, fields = _loaded(tmp_path, data), read_vote_map(ModelFile(data), 1).fields
    rng, size, side = np.random.default_rng(1), 16, 3
    clean = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    before = _votes(model, clean)
    moved_on_bound = 0
    for y, x in product(range(size - side + 1), repeat=2):
        patched = clean.copy()
        patched[y : y + side, x : x + side] = rng.integers(0, 256, (side, side, 3))
        moved = (_votes(model, patched) != before).any(2)
        rows = (fields.rows.first <= y + side - 1) & (fields.rows.last >= y)
        columns = (fields.columns.first <= x + side - 1) & (fields.columns.last >= x)
        allowed = rows[:, None] & columns[None]
        assert not (moved & ~allowed).any()
        moved_on_bound += int((moved & allowed).sum() == allowed.sum())
    assert moved_on_bound > 0  # else the bound would be wider than the graph


def test_margin_is_the_worst_of_all_places_by_hand(tmp_path: Path) -> None:
    data = made_regions()
    certifier = PatchCertifier.of(ModelFile(data), 1, 16, 16)
    votes = _votes(_loaded(tmp_path, data), np.random.default_rng(2).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    low, high, fields = certifier.votes.low, certifier.votes.high, certifier.votes.fields
    for label, side in product(range(4), (1, 2, 5, 9)):
        worst = 1 << 30
        for y, x in product(range(16 - side + 1), repeat=2):
            rows = (fields.rows.first <= y + side - 1) & (fields.rows.last >= y)
            columns = (fields.columns.first <= x + side - 1) & (fields.columns.last >= x)
            touched = (rows[:, None] & columns[None])[..., None]
            own = np.where(touched[..., 0], low, votes[..., label]).sum()
            others = np.where(touched, high, votes).sum((0, 1))
            leads = [own - others[c] + int(c > label) for c in range(4) if c != label]
            worst = min(worst, *map(int, leads))
        assert certifier.margin(votes, label, side) == worst


def test_largest_is_the_last_size_that_is_proven() -> None:
    certifier = PatchCertifier.of(ModelFile(made_regions()), 1, 16, 16)
    votes = np.full((8, 8, 4), -128)
    votes[..., 2] = 127
    side = certifier.largest(votes, 2)
    assert 0 < side < 16
    assert certifier.margin(votes, 2, side) > 0 >= certifier.margin(votes, 2, side + 1)
    assert certifier.largest(votes, 1) == 0  # a label that is wrong without any patch


def test_equal_sums_prove_nothing() -> None:
    certifier = PatchCertifier.of(ModelFile(made_regions()), 1, 16, 16)
    votes = np.full((8, 8, 4), -128)
    assert certifier.label(votes) == 0 and certifier.largest(votes, 0) == 0


def test_a_result_has_the_label_of_the_exact_sums_and_its_proof(tmp_path: Path) -> None:
    model = _loaded(tmp_path, made_regions())
    frame = np.random.default_rng(3).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    votes, found = _votes(model, frame), model(frame)
    assert model.votes is not None and found.index is not None
    assert found.index == votes.sum((0, 1)).argmax() == model.infer(frame[None]).argmax()
    assert found.certified_patch == found.certified_patch_frame == model.votes.certifier.largest(votes, found.index)
    assert np.array_equal(model.votes.integers(model.run(frame[None])), votes)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (made_regions(mix=True), "MEAN before the map of votes may look at the whole picture"),
        (made_regions(outputs=1), "the graph has 1 outputs, and none with a map of votes"),
        (made_regions((Layer(16, 4, 8), Layer(4, 1, 4))), "a single pixel touches"),
        (made_regions(claim={"output": 0}), "patch_certificate.output is out of range"),
        (made_regions(claim={"output": 1, "patch_px": "5"}), "patch_certificate.patch_px is not a whole number"),
        (made_regions(claim={"output": 1, "more": 5}), "more"),
    ],
)
def test_a_claim_that_the_graph_does_not_bear_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(InputError, match=why):
        _loaded(tmp_path, data)


def test_no_square_whose_size_is_proven_changes_a_label(tmp_path: Path) -> None:
    """Brute force over all places with extreme contents; and what is not proven does change somewhere."""
    model, rng = _loaded(tmp_path, made_regions(colors=True)), np.random.default_rng(4)
    broken = tried = 0
    for color in range(3):
        frame = np.clip(rng.integers(20, 60, (16, 16, 3)) + 120 * np.eye(3)[color], 0, 255).astype(np.uint8)
        found = model(frame)
        proven = found.certified_patch or 0
        assert found.index == color and proven > 2
        other = np.full(3, 0, np.uint8)
        other[(color + 1) % 3] = 255
        for side in (proven, 12):
            for y, x in product(range(0, 17 - side), repeat=2):
                patched = frame.copy()
                patched[y : y + side, x : x + side] = other
                changed = int(model.infer(patched[None]).argmax()) != color
                assert not (changed and side <= proven)
                broken += changed
                tried += side <= proven
    assert tried > 100 and broken > 0
