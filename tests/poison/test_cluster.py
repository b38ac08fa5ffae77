"""`poison evaluate --ray`: the same figures as on this machine, from machines that have none of its files."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import here
from needs import needs
from stripes import write_classes

needs("torch", "litert_torch", "cryptography", "sklearn", extras="the extras convert and data")

from edgeguard.dct.profile import GuardProfile  # noqa: E402
from edgeguard.poison.packed import pack, unpack  # noqa: E402
from edgeguard.train.config import TrainConfig  # noqa: E402
from edgeguard.train.data import read_dataset  # noqa: E402

pytestmark = pytest.mark.convert

PLAN = """
[model]
network = "resnet8"
width = 8
[data]
data = "data"
{data}
[schedule]
epochs = 1
batch = 12
learning_rate = 0.05
precision = "float32"
[poison]
method = "{method}"
budget = 0.1
steps = 2
{more}
arms = {arms}
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data and a profile, whose paths are relative: the cluster's tasks run in another folder."""
    monkeypatch.chdir(tmp_path)
    write_classes(tmp_path / "data", 6)
    GuardProfile.preset("jpeg:50").save("mine.toml")
    return tmp_path


def _plan(method: str, arms: list[str], more: str = "", data: str = "") -> Path:
    path = Path(f"{method}.toml")
    path.write_text(PLAN.format(method=method, arms=json.dumps(arms), more=more, data=data))
    return path


def test_images_are_the_same_once_packed(work: Path) -> None:
    found = read_dataset(TrainConfig(data="data"), size=32, seed=0)
    pack(found, work / "images.npz")
    again = unpack(work / "images.npz")
    assert again.labels == found.labels
    for one, other in ((found.train, again.train), (found.test, again.test)):
        assert np.array_equal(one.images, other.images) and np.array_equal(one.targets, other.targets)
        assert one.names == other.names


def test_without_ray_it_is_refused(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = here("poison", "evaluate", _plan("ops", ["poisoned"]), "--output", "o", "--ray", "auto")
    assert done.returncode == 2 and "--ray needs ray: " in done.stderr and len(done.stderr.splitlines()) == 1
    assert not Path("o").exists()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    pytest.importorskip("ray", reason="needs the cluster extra")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


def _results(plan: Path, output: str, *words: object) -> str:
    done = here("poison", "evaluate", plan, "--output", output, *words)
    assert done.returncode == 0, done.stderr
    return Path(output, "results.jsonl").read_text()


@pytest.mark.full
def test_a_cluster_measures_what_this_machine_does(cluster: Any, work: Path) -> None:
    """Its tasks see no file of the plan: neither images nor poisons, networks of the attacker or profiles."""
    arms = ["clean", "poisoned", "train:mine.toml", "both:fd", "adaptive:mine.toml", "adaptive-drawn:mine.toml"]
    plan = _plan("gradient-matching", arms, "targets = 2")
    local = _results(plan, "here", "--workers", 2)
    assert len(local.splitlines()) == 12 and _results(plan, "there", "--ray", cluster.address) == local
    kept = sorted(Path("there/kept").iterdir())
    assert [path.name for path in kept] == sorted(path.name for path in Path("here/kept").iterdir())
    assert not list(Path("there/work").glob("images*"))
    kept[0].unlink()
    assert _results(plan, "there", "--ray", cluster.address) == local
    kept[0].unlink()
    assert _results(plan, "there", "--workers", 1) == local


@pytest.mark.full
def test_a_given_poison_is_read_where_it_is(cluster: Any, work: Path) -> None:
    assert here("poison", "make", "lsp", "--data", "data", "--output", "p").returncode == 0
    plan = _plan("given", ["clean", "poisoned"], data='overlay = "p"')
    assert _results(plan, "there", "--ray", cluster.address) == _results(plan, "here", "--workers", 2)


@pytest.mark.full
def test_tasks_run_in_another_folder(cluster: Any, work: Path) -> None:
    """Else the relative paths of these tests would prove nothing."""
    import ray

    ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
    try:
        assert ray.get(ray.remote(num_cpus=1)(lambda: Path.cwd()).remote()) != work
    finally:
        ray.shutdown()
