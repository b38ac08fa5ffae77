import json
from dataclasses import asdict
from pathlib import Path

import pytest

from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError
from edgeguard.settings.declare import keys_of
from edgeguard.train.codec_kind import codec_kind
from edgeguard.train.config import (
    AdversarialConfig,
    DataConfig,
    ScheduleConfig,
    TrainConfig,
    file_keys,
    names_any,
    read_config,
)

ROOT = Path(__file__).parents[2]


def test_flags_come_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[schedule]\nepochs = 7\nbatch = 64\n[codec]\ncodec = "jpeg:20..90"\n')
    config = read_config(path, {"epochs": 3, "data": "photos", "size": None})
    assert (config.epochs, config.batch, config.codec, config.data) == (3, 64, "jpeg:20..90", "photos")


def test_what_a_training_wrote_is_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(asdict(TrainConfig(data="photos", batch=64, ensemble=("fd", "jpeg:30")))))
    config = read_config(path, {"epochs": 3})
    assert config == TrainConfig(data="photos", batch=64, ensemble=("fd", "jpeg:30"), epochs=3)
    path.write_text('{"epocs": 3}')
    with pytest.raises(InputError, match=r"config\.json.*epocs"):
        read_config(path, {})


def test_what_was_named_is_known(tmp_path: Path) -> None:
    keys = ("batch", "learning_rate")
    path = tmp_path / "c.toml"
    path.write_text("[schedule]\nepochs = 7\n")
    assert not names_any(None, {"batch": None, "epochs": 3}, keys) and not names_any(path, {}, keys)
    assert names_any(path, {"learning_rate": 0.2}, keys)
    path.write_text("[schedule]\nbatch = 256\n")
    assert names_any(path, {}, keys), "the default's own value counts as well"


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
    assert set(file_keys()) == {
        "model", "data", "schedule", "augment", "codec", "adversarial", "smoothing", "patch",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("config", "sha256"),
    [
        (
            TrainConfig(data="x", device="cpu", flip=True),
            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        ),
        (
            TrainConfig(
                data="x", network="resnet8", width=16, epochs=2, batch=16, codec="fd", method="pgd", steps=2,
                eps_8bit=8.0, first_layer="binary", flip=False, seed=7,
            ),
            "a1c570c8f147c0140751e59050d9814b819edc6b425c210dec7884c46041dbc2",
        ),
        (
            TrainConfig(
                data="x", ensemble=("jpeg:30", "fd"), applied="fd", start="w.pt", light=0.1, ema=0.5, holdout=0.2,
                keep="jpeg", flip=True,
            ),
            "0d72755a6d9425d7a0384a70918f56085a9dca05134bf587b6eda15e4c938536",
        ),
    ],
)  # fmt: skip
def test_the_names_of_configurations_stay_what_they_were(config: TrainConfig, sha256: str) -> None:
    """Checkpoints of earlier versions are bound to them."""
    assert config.sha256 == sha256


def test_a_part_is_what_one_table_says() -> None:
    config = TrainConfig(data="x", epochs=3, method="pgd", eps_8bit=4, steps=5)
    assert asdict(config.part(ScheduleConfig)) == asdict(ScheduleConfig(epochs=3))
    assert config.part(AdversarialConfig).inner_step_8bit == config.inner_step_8bit == 2
    assert not isinstance(config.part(DataConfig), TrainConfig)
    order = list(asdict(config))  # as config.json and the curves list them
    assert order[:2] == ["network", "width"] and order[-1] == "margin_weight"
    assert order == [name for table in file_keys().values() for name in table.table or ()]
    assert order == list(keys_of(TrainConfig))


def test_codec_kinds() -> None:
    assert codec_kind("fd").profile == GuardProfile.preset("fd")
    assert (codec_kind("jpeg:20..90").low, codec_kind("jpeg:20..90").high) == (20, 90)
    assert codec_kind("fd*0.5..2").kind == "multipliers"
    assert codec_kind("shield").kind == "shield" and codec_kind("none").kind == "none"


def test_inner_steps() -> None:
    assert TrainConfig(method="fgsm-rs", eps_8bit=8).inner_step_8bit == 10
    assert TrainConfig(method="pgd", eps_8bit=8, steps=10).inner_step_8bit == 2
    assert TrainConfig(method="pgd", step_8bit=1.5).inner_step_8bit == 1.5
