"""The map of votes leaves a finished graph, and files that prove nothing are told from those that do."""

from pathlib import Path

import numpy as np
import pytest
from model.crafted import harmless
from model.made_regions import Layer, made_regions

from edgeguard.errors import InputError
from edgeguard.model import load_model
from edgeguard.model.contract import ENTRY, Contract, InputSpec, Preprocess
from edgeguard_converters.graph.tflite_graph import TfliteGraph
from edgeguard_converters.graph.vote_map import with_vote_map

pytestmark = pytest.mark.convert
CONTRACT = Contract(InputSpec(16, 16), Preprocess(crop="none", crop_fraction=1.0))


def test_the_map_becomes_the_second_output_and_the_first_stays(tmp_path: Path) -> None:
    plain = TfliteGraph(made_regions(colors=True, outputs=1))
    graph, contract = with_vote_map(plain, CONTRACT, 5)
    assert contract.patch_certificate is not None and contract.patch_certificate.patch_px == 5
    path = tmp_path / "m.tflite"
    path.write_bytes(graph.with_contract(ENTRY, contract.to_json(), ()).data)
    model, before = load_model(path, threads=1), plain.runner(threads=1)
    picture = np.full((1, 16, 16, 3), (180, 40, 40), np.uint8)
    mean, votes = model.run_raw(picture)
    assert np.array_equal(mean, before.run_raw(picture)[0]) and votes.shape == (8, 8, 3)
    assert model.integer_only and (model(picture[0]).certified_patch or 0) > 2


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (made_regions(), "has 2 outputs; a classifier of regions has one"),
        (made_regions(mix=True, outputs=1), "MEAN before the map of votes may look at the whole picture"),
        (made_regions((Layer(16, 4, 8), Layer(4, 1, 4)), outputs=1), "a single pixel touches"),
        (harmless(16, 16), "a single pixel|no map of 8-bit votes|does not depend"),
    ],
)
def test_graphs_that_prove_nothing_are_told_apart(data: bytes, why: str) -> None:
    graph = TfliteGraph(data)
    if data == harmless(16, 16):  # the mean of the pixels themselves: a map whose regions are single pixels
        done, _ = with_vote_map(graph, CONTRACT, 1)
        assert len(done.borders()[1]) == 2
        return
    with pytest.raises(InputError, match=why):
        with_vote_map(graph, CONTRACT, 5)
