from pathlib import Path

import pytest

from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError
from edgeguard.settings import tables_of
from edgeguard.train.codec_kind import codec_kind
from edgeguard.train.config import TrainConfig, TrainFile, read_config

ROOT = Path(__file__).parents[2]


def test_flags_come_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[schedule]\nepochs = 7\nbatch = 64\n[codec]\ncodec = "jpeg:20..90"\n')
    config = read_config(path, {"epochs": 3, "data": "photos", "size": None})
    assert (config.epochs, config.batch, config.codec, config.data) == (3, 64, "jpeg:20..90", "photos")


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("train-*.toml")), ids=lambda p: p.name)
def test_the_examples_are_configurations(path: Path) -> None:
    assert read_config(path, {"data": "x"}).data == "x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[schedule]\nepocs = 3\n", r"c\.toml:2: \[schedule\] has no key 'epocs'"),
        ("[schedule]\n\nepochs = 0\n", r"c\.toml:3: epochs is 1 to"),
        ("[adversarial]\nmethod = 'magic'\n", "is one of none, fgsm-rs"),
        ("[codec]\ncodec = 'jpeg:90..20'\n", "is no codec"),
        ("[codec]\ncodec = 'fdd'\n", "is no codec"),
        ("[codec]\nensemble = ['fd']\n", "at least two codecs"),
        ("[codec]\nensemble = ['fd', 'fdd']\n", "is no codec"),
        ("[codec]\napplied = 'jpeg:20..90'\n", "the name of one profile"),
        ("[augment]\nflip = 1\n", "is true or false"),
        ("[nothing]\na = 1\n", r"c\.toml:1: there is no table \[nothing\]"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_config(path, {"data": "x"})


def test_no_data() -> None:
    with pytest.raises(InputError, match="--data FOLDER"):
        read_config(None, {})


def test_a_configuration_is_named_by_everything_but_the_place_of_its_images() -> None:
    base = TrainConfig(data="a")
    assert base.sha256 == TrainConfig(data="b").sha256
    assert base.sha256 != TrainConfig(data="a", seed=1).sha256
    assert set(tables_of(TrainFile)) == {
        "model", "data", "schedule", "augment", "codec", "adversarial",
    }  # fmt: skip


def test_codec_kinds() -> None:
    assert codec_kind("fd").profile == GuardProfile.preset("fd")
    assert (codec_kind("jpeg:20..90").low, codec_kind("jpeg:20..90").high) == (20, 90)
    assert codec_kind("fd*0.5..2").kind == "multipliers"
    assert codec_kind("shield").kind == "shield" and codec_kind("none").kind == "none"


def test_inner_steps() -> None:
    assert TrainConfig(method="fgsm-rs", eps_8bit=8).inner_step_8bit == 10
    assert TrainConfig(method="pgd", eps_8bit=8, steps=10).inner_step_8bit == 2
    assert TrainConfig(method="pgd", step_8bit=1.5).inner_step_8bit == 1.5
