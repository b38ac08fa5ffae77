"""A Ray cluster of two nodes on loopback."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeguard.dct.profile import GuardProfile
from edgeguard.evaluate.engine.cluster import RayCluster

ray = pytest.importorskip("ray", reason="needs the cluster extra")
pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


def _dies_once(folder: str) -> str:
    marker = Path(folder) / "died"
    if not marker.exists():
        marker.write_text("x")
        os._exit(1)
    return ray.get_runtime_context().get_node_id()


def test_a_protocol_on_two_nodes(cluster: Any, card_model: Path, card_images: Path, tmp_path: Path) -> None:
    from evaluate.test_run import GRAY

    from edgeguard.evaluate.protocol import parse_protocol
    from edgeguard.evaluate.run import evaluate

    plan = parse_protocol(GRAY, "t.toml")
    there = evaluate(card_model, card_images, plan, tmp_path / "ray", ray_address=cluster.address)
    here = evaluate(card_model, card_images, plan, tmp_path / "here", workers=1)
    assert there == here


def test_a_guard_of_a_file_that_the_nodes_do_not_find(
    cluster: Any, card_model: Path, card_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its path is relative, and tasks run in another folder, as they would on another machine."""
    from evaluate.test_run import WHITE

    from edgeguard.evaluate.protocol import parse_protocol
    from edgeguard.evaluate.run import evaluate

    monkeypatch.chdir(tmp_path)
    GuardProfile.preset("fd-paper").save("mine.toml")
    plan = parse_protocol(WHITE, "t.toml")
    there = evaluate(card_model, card_images, plan, "ray", ray_address=cluster.address, guard="mine.toml")
    here = evaluate(card_model, card_images, plan, "here", workers=1, guard="mine.toml")
    assert there == here and any(cell.defence == "mine.toml" for cell in there)


def test_a_lost_worker_is_retried(cluster: Any, tmp_path: Path) -> None:
    executor = RayCluster(cluster.address)
    try:
        run = ray.remote(num_cpus=1, max_retries=3)(_dies_once)
        assert ray.get(run.remote(str(tmp_path)))
        assert executor._run._default_options["max_retries"] == 3
    finally:
        executor.close()
