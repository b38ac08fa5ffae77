"""Planted faults are found, and clean data pass."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import here
from needs import needs
from numpy.typing import NDArray
from stripes import picture, write_classes

needs("torch", "litert_torch", "cryptography", "sklearn", extras="the extras convert and data")

from edgeguard.audit.availability import compression_gap, shortcut, transfer_gap  # noqa: E402
from edgeguard.audit.color import color_outliers  # noqa: E402
from edgeguard.audit.duplicates import near_pairs  # noqa: E402
from edgeguard.audit.features import out_of_sample_scores, patch_features, probabilities  # noqa: E402
from edgeguard.audit.files import association  # noqa: E402
from edgeguard.audit.images import Sample, balanced, sample_of  # noqa: E402
from edgeguard.audit.label_noise import label_issues  # noqa: E402
from edgeguard.audit.targeted import activation_clusters, deep_knn, gradient_isolation, spectral_signature  # noqa: E402
from edgeguard.audit.thresholds import thresholds  # noqa: E402
from edgeguard.errors import InputError  # noqa: E402
from edgeguard_converters.training_data.image_facts import perceptual_hash  # noqa: E402
from edgeguard_converters.training_data.scan import scan  # noqa: E402

pytestmark = pytest.mark.convert
KINDS = ("across", "along", "round")


def _sample(count: int, seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % 3
    pixels = np.stack([picture(KINDS[target], rng) for target in targets])
    return Sample(tuple(f"{KINDS[t]}/{row:04}.png" for row, t in enumerate(targets)), KINDS, targets, pixels)


def _hashes(pixels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return np.array([perceptual_hash(one) for one in pixels], np.uint64)


def test_faults_of_files_fail_the_audit_and_the_list_leaves_them_out(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data", 20, parts=("train", "test"))
    train = data / "train"
    shutil.copy(train / "along" / "000.png", train / "along" / "900.png")
    shutil.copy(train / "along" / "001.png", train / "round" / "901.png")
    shutil.copy(train / "across" / "002.png", data / "test" / "across" / "902.png")
    (train / "round" / "903.png").write_bytes(b"\x89PNG no more")
    cv2.imwrite(str(train / "round" / "904.png"), np.full((4, 4, 3), 90, np.uint8))
    for number in range(20):
        file = train / "across" / f"{number:03}.png"
        coded = cv2.imread(str(file))
        assert coded is not None
        cv2.imwrite(str(file.with_suffix(".jpg")), coded, [cv2.IMWRITE_JPEG_QUALITY, 60])
        file.unlink()
    words = ("data", "audit", data, "--output", tmp_path / "a")
    done = here(*words)
    assert done.returncode == 1, done.stderr
    found = {one["check"]: one for one in json.loads((tmp_path / "a" / "audit.json").read_text())["findings"]}
    assert set(json.loads((tmp_path / "a" / "audit.json").read_text())["failed"]) >= {
        "broken", "coding-by-class", "label-conflicts",
    }  # fmt: skip
    assert {one["name"] for one in found["broken"]["suspects"]} >= {"train/round/903.png", "train/round/904.png"}
    assert "train/along/900.png" in {one["name"] for one in found["duplicates"]["suspects"]}
    assert {one["name"] for one in found["label-conflicts"]["suspects"]} == {
        "train/along/001.png", "train/round/901.png",
    }  # fmt: skip
    page = (tmp_path / "a" / "report.html").read_text()
    assert "data:image/png;base64" in page and "http" not in page
    listed = (tmp_path / "a" / "exclude.txt").read_text()
    assert "train/round/903.png" in listed
    again = here(*words)
    assert again.returncode == 1 and "checks are made already" in again.stderr
    assert again.stdout == done.stdout


@pytest.mark.full
def test_a_clean_folder_passes(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data", 30, parts=("train",))
    trusted = write_classes(tmp_path / "trusted", 20, parts=("train",), seed=5)
    # Ninety stripes look alike, and an image more or less is a point or two.
    loose = [f"{name}={value}" for name, value in (("near-duplicates", 1), ("compression-gap", 0.15), ("shortcut", 0.4),
                                                   ("transfer-gap", 0.4), ("color", 1))]  # fmt: skip
    words = [word for setting in loose for word in ("--threshold", setting)]
    done = here("data", "audit", data, "--output", tmp_path / "a", "--trusted", trusted, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout and "not made" not in done.stdout


def test_where_no_class_is_left_it_is_said_why(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(b"no picture")
    with pytest.raises(
        InputError, match=r"holds no classes: .* \(2 of its images cannot be read, cat/0.png: .* for one"
    ):
        sample_of(tmp_path, scan(tmp_path))


def test_thresholds_are_set_by_name() -> None:
    assert thresholds(["broken=0.5"])["broken"] == 0.5
    for wrong in ("broken", "nothing=1", "broken=x", "broken=-1", "broken=nan"):
        with pytest.raises(InputError):
            thresholds([wrong])


def test_near_duplicates_are_found_among_others() -> None:
    rng = np.random.default_rng(3)
    blurred = [cv2.GaussianBlur(rng.integers(0, 256, (32, 32, 3), np.uint8), (0, 0), 3) for _ in range(60)]
    base = np.stack([cv2.normalize(one, one.copy(), 0, 255, cv2.NORM_MINMAX) for one in blurred])
    coded = cv2.imdecode(cv2.imencode(".jpg", base[0], [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR)
    assert coded is not None
    moved = np.roll(base[1], 1, axis=1)
    lighter = np.clip(base[2] * 1.05, 0, 255).astype(np.uint8)
    pixels = np.concatenate([base, np.stack([coded, moved, lighter])]).astype(np.uint8)
    pairs = {(pair.first, pair.second) for pair in near_pairs(pixels, _hashes(pixels))}
    assert {(0, 60), (1, 61), (2, 62)} <= pairs
    assert len(pairs) <= 4


def test_wrong_labels_are_ranked_above_right_ones() -> None:
    sample = _sample(150)
    rng = np.random.default_rng(0)
    flipped = rng.permutation(150)[:8]
    targets = sample.targets.copy()
    targets[flipped] = (targets[flipped] + rng.integers(1, 3, 8)) % 3
    features = patch_features(sample.pixels).features(sample.pixels)
    p = probabilities(out_of_sample_scores(features, targets, 3), targets)
    issues = label_issues(targets, p)
    assert issues[flipped].mean() >= 0.8 and issues.sum() <= 16


def test_label_issues_are_those_of_cleanlab() -> None:
    cleanlab = pytest.importorskip("cleanlab.filter", reason="a development package")
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 4, 400)
    scores = rng.normal(0, 1, (400, 4))
    scores[np.arange(400), np.where(rng.random(400) < 0.1, rng.integers(0, 4, 400), targets)] += 3
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    theirs = cleanlab.find_label_issues(targets, p, filter_by="prune_by_class", n_jobs=1)
    ours = label_issues(targets, p)
    assert (ours == theirs).mean() >= 0.97


def test_poison_that_keeps_a_net_from_learning_is_told_from_clean_images() -> None:
    from edgeguard.poison.patterns import added, lsp_patterns, one_pixel

    sample, trusted = _sample(150), _sample(90, seed=9)
    patterns = lsp_patterns(3, 32, 0, l2=2.0)
    lsp = Sample(sample.names, KINDS, sample.targets, added(sample.pixels, patterns[sample.targets]))
    ops = Sample(sample.names, KINDS, sample.targets, one_pixel(sample.pixels, sample.targets, 3, 0)[0])
    assert not shortcut(sample, 0.15).failed and not transfer_gap(sample, trusted, 0.2).failed
    assert transfer_gap(ops, trusted, 0.2).failed
    assert transfer_gap(lsp, trusted, 0.2).failed
    assert "not made" in compression_gap(sample, None, 0.01).says
    assert "not made" in transfer_gap(sample, balanced(trusted, 30), 0.2).says


def test_a_fine_pattern_of_each_class_is_a_shortcut() -> None:
    rng = np.random.default_rng(0)
    smooth = np.stack([cv2.GaussianBlur(rng.uniform(0, 255, (32, 32, 3)), (0, 0), 4) for _ in range(150)])
    targets = np.arange(150) % 3
    cells = np.kron(np.ones((16, 16)), [[1, -1], [-1, 1]])[..., None]  # no mean: nothing of it in the coarse picture
    signs = cells * np.repeat(np.repeat(rng.choice([-8, 8], (3, 16, 16, 3)), 2, 1), 2, 2)
    names = tuple(map(str, range(150)))
    plain, marked = (np.clip(images, 0, 255).astype(np.uint8) for images in (smooth, smooth + signs[targets]))
    assert shortcut(Sample(names, KINDS, targets, marked), 0.15).failed
    assert not shortcut(Sample(names, KINDS, targets, plain), 0.3).failed


def test_single_files_stand_out_in_their_rankings() -> None:
    sample = _sample(150)
    features = patch_features(sample.pixels).features(sample.pixels)
    targets = sample.targets.copy()
    targets[0] = (targets[0] + 1) % 3
    assert deep_knn(features, targets).argsort()[::-1][:3].tolist().count(0) == 1
    outlying = features.copy()
    outlying[7] += 30 * features.std(0)
    assert spectral_signature(outlying, sample.targets).argmax() == 7
    rng = np.random.default_rng(0)
    alike = (rng.normal(0, 0.1, (40, 30)) + np.repeat(np.eye(2), [20, 20], 0) @ rng.normal(0, 3, (2, 30))).astype("f4")
    alike[5] = -alike[5]
    assert gradient_isolation(alike, np.full((40, 2), 0.5), np.zeros(40, np.int64)).argmax() == 5
    two = np.concatenate([rng.normal(0, 1, (400, 30)), rng.normal(6, 1, (120, 30))]).astype(np.float32)
    clusters, silhouette = activation_clusters(two)
    assert sorted(np.bincount(clusters).tolist()) == [120, 400] and silhouette > 0.05


def test_exchanged_channels_stand_out_of_their_class() -> None:
    rng = np.random.default_rng(0)
    colors = np.array([[200, 40, 40], [40, 60, 200], [220, 180, 40]])
    targets = np.arange(90) % 3
    pixels = (colors[targets][:, None, None] + rng.normal(0, 25, (90, 32, 32, 3))).clip(0, 255).astype(np.uint8)
    wrong = [3, 31, 80]
    pixels[wrong] = pixels[wrong][..., ::-1]
    names = tuple(f"{t}/{row}.png" for row, t in enumerate(targets))
    found = color_outliers(Sample(names, ("0", "1", "2"), targets, pixels), 0.02)
    assert {one.name for one in found.suspects} == {names[row] for row in wrong} and found.failed


def test_association_is_none_for_independent_tables() -> None:
    assert association(np.array([[20.0, 30.0], [40.0, 60.0]]))[1] == 0
    assert association(np.array([[30.0, 0.0], [0.0, 30.0]]))[1] == pytest.approx(1, abs=0.02)
