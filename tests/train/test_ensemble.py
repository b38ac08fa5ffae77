import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgeguard.train.config import TrainConfig, read_config  # noqa: E402
from edgeguard.train.ensemble import member_configs  # noqa: E402
from edgeguard.train.export import load_program  # noqa: E402
from edgeguard.train.restore import restored  # noqa: E402
from edgeguard.train.run import train  # noqa: E402


@pytest.mark.full
def test_members_are_trained_behind_their_codecs_and_vote(stripes: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        data=str(stripes), width=8, batch=24, epochs=6, learning_rate=0.05, precision="float32", shift=2, ema=0.8,
        ensemble=("jpeg:30", "fd"),
    )  # fmt: skip
    done = train(config, tmp_path)
    assert [mine.codec for mine, _ in member_configs(config, tmp_path)] == ["jpeg:30", "fd"]
    members = [restored(tmp_path / f"member-{n}") for n in (0, 1)]
    assert members[0].sha256 != members[1].sha256
    assert [m.config.codec for m in members] == ["jpeg:30", "fd"] and members[1].config.seed == 1

    found = restored(tmp_path)
    assert "jpeg:30, fd, a network each, voting" in found.how
    x = torch.randn(5, 3, 32, 32)
    with torch.no_grad():
        mean = (members[0].network(x) + members[1].network(x)) / 2
        assert torch.allclose(found.network(x), mean, atol=1e-5)
        chances = torch.stack([m.network(x).log_softmax(1) for m in members]).mean(0)
        assert (chances.argmax(1) == mean.argmax(1)).all()
        program, facts = load_program(done.model)
        assert torch.allclose(program(x), mean, atol=1e-4)
    assert facts["trained_on_profile"] is None and facts["trained"]["ensemble"] == ["jpeg:30", "fd"]
    assert done.epochs[-1].test_accuracy > 0.8 and done.weights == 2 * sum(
        p.numel() for p in members[0].network.parameters()
    )

    lines = (tmp_path / "member-0" / "log.jsonl").read_bytes()
    again = train(config, tmp_path)  # nothing is left to do
    assert (tmp_path / "member-0" / "log.jsonl").read_bytes() == lines and again.epochs == done.epochs


@pytest.mark.full
def test_images_that_went_through_a_profile_before(stripes: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[codec]\napplied = "fd"\n[schedule]\nepochs = 1\nbatch = 24\n[augment]\nlight = 0.2\n')
    config = read_config(path, {"data": str(stripes), "width": 8})
    done = train(config, tmp_path / "out")
    from edgeguard.guard import GuardProfile

    assert load_program(done.model)[1]["trained_on_profile"] == GuardProfile.preset("fd").sha256
    assert json.loads((tmp_path / "out" / "config.json").read_text())["applied"] == "fd"


def test_light_changes_within_its_share() -> None:
    from edgeguard.train.batches import relit

    images = np.full((400, 2, 2, 3), 190, np.uint8)
    found = relit(images, 0.2, np.random.default_rng(0))[:, 0, 0, 0].astype(int)
    assert abs(found.mean() - 190) < 3 and found.min() >= 127.5 + 62.5 * 0.8 - 25.5 - 1
    assert found.max() <= 127.5 + 62.5 * 1.2 + 25.5 + 1 and found.std() > 10
    assert (relit(images, 0.0, np.random.default_rng(0)) == 190).all()
