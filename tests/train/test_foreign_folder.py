"""A training's folder may come from somebody else: what it holds is not believed, and nothing is written outside."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stripes import write_classes

from edgeguard.errors import InputError

torch = pytest.importorskip("torch")

from edgeguard.train.checkpoint import NAME, Checkpoint, load_checkpoint, resume_log, save_checkpoint  # noqa: E402
from edgeguard.train.config import TrainConfig, read_saved  # noqa: E402
from edgeguard.train.data import read_dataset  # noqa: E402
from edgeguard.train.log import LOG, read_log  # noqa: E402
from edgeguard.train.loop import Trainer  # noqa: E402
from edgeguard.train.networks import network  # noqa: E402
from edgeguard.train.partitions import NOTE, load_partitions  # noqa: E402
from edgeguard.train.run import train, trainer_of  # noqa: E402
from edgeguard.train.tensors import load_tensors  # noqa: E402

WHOLE = Checkpoint("c", "d", 2, 0, 0.5, 1, 2, 3.0, {"w": torch.ones(2)}, {"w": torch.ones(2)}, {})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("data"), 4)


def _trainer(data: Path, folder: Path) -> Trainer:
    folder.mkdir(exist_ok=True)
    config = TrainConfig(data=str(data), network="resnet8", width=4, size=16, batch=8, epochs=2, precision="float32")
    dataset = read_dataset(config, size=16, seed=0)
    return trainer_of(config, network("resnet8", len(dataset.labels), 4, 16), dataset, folder)


@pytest.mark.parametrize("with_checkpoint", [True, False])
def test_a_log_that_is_a_link_is_not_cut_where_it_leads_to(data: Path, tmp_path: Path, with_checkpoint: bool) -> None:
    folder, elsewhere = tmp_path / "run", tmp_path / "diary"
    if with_checkpoint:
        _trainer(data, folder).save()
    folder.mkdir(exist_ok=True)
    elsewhere.write_text("precious")
    (folder / LOG).symlink_to(elsewhere)
    with pytest.raises(InputError, match=r"log\.jsonl is a link"):
        _trainer(data, folder)
    assert elsewhere.read_text() == "precious" and (folder / LOG).is_symlink()


@pytest.mark.parametrize(
    "change",
    [
        {"step": "x"}, {"step": -1}, {"step": 1.5}, {"step": 7}, {"log_bytes": "x"}, {"log_bytes": -1},
        {"loss_sum": "x"}, {"loss_sum": float("nan")}, {"hits": None}, {"seen": -1}, {"seconds": "x"},
        {"seconds": -1.0}, {"weights": 5}, {"optimizer": [1]}, {"average": {"w": torch.tensor([1.0, float("nan")])}},
    ],
)  # fmt: skip
def test_what_a_checkpoint_says_fits_or_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    save_checkpoint(tmp_path, WHOLE)
    assert load_checkpoint(tmp_path, "c", "d", 6) is not None
    torch.save({**vars(WHOLE), **change}, tmp_path / NAME)
    with pytest.raises(InputError, match="delete it"):
        load_checkpoint(tmp_path, "c", "d", 6)


@pytest.mark.parametrize("part", ["weights", "average", "optimizer"])
def test_a_state_of_another_network_is_one_line(data: Path, tmp_path: Path, part: str) -> None:
    trainer = _trainer(data, tmp_path)
    trainer.save()
    kept = load_tensors(tmp_path / NAME)
    torch.save({**kept, part: {}}, tmp_path / NAME)
    with pytest.raises(InputError, match="does not fit what is trained"):
        _trainer(data, tmp_path)


def test_a_packed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    plain, packed = tmp_path / "plain.pt", tmp_path / "packed.pt"
    torch.save({"w": torch.zeros(1 << 20)}, plain)
    assert load_tensors(plain)["w"].shape == (1 << 20,)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert packed.stat().st_size < 100_000
    with pytest.raises(InputError, match="packed members"):
        load_tensors(packed)


@pytest.mark.parametrize("packed", [True, False])
def test_tensors_beside_values_that_hold_each_other_are_refused(tmp_path: Path, packed: bool) -> None:
    """A key whose hash takes 2^60 steps: torch's safe loader would work it out."""
    path = tmp_path / "evil.pt"
    torch.save({"w": torch.zeros(1)}, path, _use_new_zipfile_serialization=packed)
    good, keys = path.read_bytes(), b"\x80\x02})" + b"2\x86" * 60 + b"K\x01s."
    load_tensors(path)
    if packed:
        with zipfile.ZipFile(path) as old:
            found = {name: old.read(name) for name in old.namelist()}
        with zipfile.ZipFile(path, "w") as new:
            for name, data in found.items():
                new.writestr(name, keys if name.endswith("data.pkl") else data)
    else:
        path.write_bytes(good[: good.index(b"\x80\x02}")] + keys + good)
    with pytest.raises(InputError, match="hold each other too often"):
        load_tensors(path)


@pytest.mark.parametrize("line", ['{"a": 1}', "[]", "5", "null", "{", "[" * 100_000, "\xff", '{"epoch": 1e999}'])
def test_a_log_of_somebody_else_is_one_line(tmp_path: Path, line: str) -> None:
    (tmp_path / LOG).write_text(line, encoding="latin-1")
    with pytest.raises(InputError, match=r"log\.jsonl is damaged"):
        read_log(tmp_path)


def test_a_log_that_is_shorter_than_its_checkpoint_says(tmp_path: Path) -> None:
    log = tmp_path / LOG
    log.write_text("abc")
    with pytest.raises(InputError, match="is shorter than"):
        resume_log(log, 4)
    resume_log(log, 2)
    assert log.read_text() == "ab"
    resume_log(log, None)
    assert not log.exists()
    log.mkdir()
    with pytest.raises(InputError, match="is not there as a file"):
        resume_log(log, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("width", "x"), ("width", 10**9), ("size", [1]), ("network", 5), ("codec", {"a": 1}), ("seed", -1), ("flip", 1),
     ("ensemble", 5)],
)  # fmt: skip
def test_the_configuration_of_somebody_else_has_the_bounds_of_ours(tmp_path: Path, name: str, value: object) -> None:
    path = tmp_path / "config.json"
    plain = {**vars(TrainConfig(data="photos"))}
    path.write_text(json.dumps(plain))
    assert read_saved(path) == TrainConfig(data="photos")
    path.write_text(json.dumps({**plain, name: value}))
    with pytest.raises(InputError, match=name):
        read_saved(path)


@pytest.mark.parametrize(
    "change", [{"partitions": 10**12}, {"partitions": "2"}, {"labels": 5}, {"width": 10**9}, {"schema": 2}]
)
def test_a_note_of_partitions_fits_or_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    note = {"schema": 1, "partitions": 1, "labels": ["a", "b"], "network": "resnet8", "width": 4, "size": 16}
    torch.save(network("resnet8", 2, 4, 16).state_dict(), tmp_path / "partition-0000.pt")
    (tmp_path / NOTE).write_text(json.dumps(note))
    assert len(load_partitions(tmp_path)[1]) == 1
    (tmp_path / NOTE).write_text(json.dumps({**note, **change}))
    with pytest.raises(InputError):
        load_partitions(tmp_path)


def test_a_member_that_is_a_link_is_not_trained_where_it_leads_to(data: Path, tmp_path: Path) -> None:
    from edgeguard.train.run import train

    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "member-0").symlink_to(elsewhere)
    config = TrainConfig(data=str(data), network="resnet8", width=4, size=16, batch=8, epochs=1)
    with pytest.raises(InputError, match="member-0 is a link"):
        train(replace(config, ensemble=("jpeg:50", "jpeg:80")), folder)
    assert list(elsewhere.iterdir()) == []


def test_a_speaker_names_a_folder_below_the_output(tmp_path: Path) -> None:
    audio: Callable[..., Path] = pytest.importorskip("edgeguard.audio_training.run")._fold
    folder = tmp_path / "out"
    folder.mkdir()
    assert audio(folder, "jackson") == folder / "jackson"
    for name in ("..", ".", "", "a\n"):
        with pytest.raises(InputError, match="cannot name a folder"):
            audio(folder, name)
    (folder / "theo").symlink_to(tmp_path)
    with pytest.raises(InputError, match="is a link"):
        audio(folder, "theo")


@pytest.mark.full
def test_a_model_that_is_refused_leaves_no_folder(data: Path, tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"m\.pt2"):
        train(TrainConfig(data=str(data), network=str(tmp_path / "m.pt2")), tmp_path / "out")
    assert not (tmp_path / "out").exists()
