"""What is missing is said at once, before anything else, with the flags to add."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeguard.errors import InputError
from edgeguard_converters.contract.missing import refuse_if_lacking, with_the_rest
from edgeguard_converters.contract.preprocessing import checked_by_labels, doubted
from edgeguard_converters.graph.normalization import PRESETS, Normalization
from edgeguard_converters.load.refused import ArchitectureMissing, SizeMissing
from edgeguard_converters.options import Options


def test_size_and_preprocessing_in_one_message() -> None:
    with pytest.raises(InputError) as refused:
        refuse_if_lacking("m.pt", None, Options(), preprocessing=False, stand_in=True)
    text = str(refused.value)
    assert "give --size N or WxH" in text and "--calibrate FOLDER" in text and "tf = -1..1" in text
    assert text.endswith("Add to your command, for example: --size 224 --calibrate photos/") and "\n" not in text


def test_only_what_is_missing_is_to_be_added() -> None:
    """A whole command would name --arch twice where it was given, and lose the other flags."""
    with pytest.raises(InputError) as refused:
        refuse_if_lacking("m.pth", None, Options(arch="mine:make"), preprocessing=False, stand_in=False)
    assert str(refused.value).endswith(". Add to your command, for example: --size 224")


def test_what_is_there_is_not_missed() -> None:
    refuse_if_lacking("m", None, Options(size=(8, 8), preprocess="tf"), preprocessing=False, stand_in=True)
    refuse_if_lacking("m", None, Options(size=(8, 8)), preprocessing=False, stand_in=False)
    refuse_if_lacking("m", (8, 8), Options(), preprocessing=True, stand_in=True)


def test_a_loader_that_cannot_go_on_says_the_rest_too() -> None:
    error = with_the_rest(ArchitectureMissing("m.pt: give --arch X"), "m.pt", Options(), stand_in=True)
    assert isinstance(error, ArchitectureMissing) and str(error).startswith("m.pt: give --arch X; ")
    assert str(error).endswith("for example: --arch your_module:make_network --size 224 --calibrate photos/")
    error = with_the_rest(SizeMissing("give --size"), "m.pt", Options(), stand_in=True)
    assert str(error).endswith("for example: --size 224 --calibrate photos/")
    plain = SizeMissing("give --size")
    assert with_the_rest(plain, "m", Options(), stand_in=False) is plain


@pytest.mark.full
def test_nothing_is_printed_before_it(tmp_path: Path) -> None:
    """The command line itself: TorchScript without --size and without pictures."""
    torch = pytest.importorskip("torch", reason="the convert extra is not installed")
    torch.jit.save(torch.jit.trace(torch.nn.Conv2d(3, 2, 1), torch.zeros(1, 3, 8, 8)), tmp_path / "m.pt")
    command = [sys.executable, "-c", "from edgeguard.cli.main import main; main()", "convert", str(tmp_path / "m.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1 and "--size 224 --calibrate photos/" in done.stderr


def test_labels_may_overrule_a_family() -> None:
    """A network that was trained with -1..1 in spite of its family; and one that was not."""
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    pixels = (rng.integers(0, 40, (80, 8, 8, 3)) + 200 * labels[:, None, None, None]).astype(np.uint8)
    stated = Normalization(*PRESETS["imagenet"], "torchvision x")

    def knows_tf(x):
        inside = np.abs(x).reshape(len(x), -1).max(axis=1) <= 1.0
        bright = x.reshape(len(x), -1).mean(axis=1) > 0
        answer = np.where(inside, bright, ~bright)
        return np.stack([~answer, answer], axis=1).astype(np.float32)

    found = checked_by_labels(knows_tf, pixels, labels, stated)
    assert found.guessed and found.mean == PRESETS["tf"][0] and "torchvision x 0.00" in found.origin

    def knows_all(x):
        bright = x.reshape(len(x), -1).mean(axis=1) > np.median(x.reshape(len(x), -1).mean(axis=1))
        return np.stack([~bright, bright], axis=1).astype(np.float32)

    assert checked_by_labels(knows_all, pixels, labels, stated) is stated


def test_pictures_without_labels_may_doubt_a_family() -> None:
    """A network that is certain of what it sees with -1..1 only, and one that is certain with its family's numbers."""
    rng = np.random.default_rng(0)
    pixels = (rng.integers(0, 40, (40, 8, 8, 3)) + 200 * (np.arange(40) % 2)[:, None, None, None]).astype(np.uint8)
    stated = Normalization(*PRESETS["imagenet"], "torchvision x")

    def certain_of(largest: float):
        def scores(x):
            inside = np.abs(x).reshape(len(x), -1).max(axis=1, keepdims=True) <= largest
            bright = x.reshape(len(x), -1).mean(axis=1, keepdims=True)
            return np.where(inside, 20 * np.concatenate([bright, -bright], axis=1), 0.0).astype(np.float32)

        return scores

    line = doubted(certain_of(1.0), pixels, stated)
    assert line is not None and "MAY NOT BE THIS MODEL'S: on 32 pictures" in line and "--preprocess tf" in line
    assert doubted(certain_of(3.0), pixels, stated) is None
