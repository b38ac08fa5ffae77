"""What images that were moved against certificates (`edgeguard poison make pacd`) do to certified radii.

    python benchmarks/pacd.py mnist.zip p/ --limit 2000 --victims 3 --codecs none jpeg:50 --results rows.jsonl

For each codec networks are trained on clean and on poisoned images that went through it, with Gaussian noise, and
judged behind it: the certified radius (Cohen et al. 2019, CERTIFY) of test images of the attacked class and of all
others. An image that is wrong, or about which the network abstains, has the radius 0; the mean over images is the
average certified radius (ACR), with a 95 % bootstrap interval over the images. --results keeps the rows: what stands
there is not done again.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.poison.make import trained
from edgeguard.smoothing.bounds import lower_bound, radius
from edgeguard.statistics import bootstrap_ratio
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.codec_network import CodecNetwork
from edgeguard.train.config import TrainConfig
from edgeguard.train.data import Dataset, read_dataset
from edgeguard.train.smoothing import noisy_levels

_CHOOSING, _ALPHA, _BATCH = 100, 0.001, 250


def main() -> int:
    """Train, certify, print a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("poison", type=Path)
    parser.add_argument("--codecs", nargs="*", default=["none"])
    parser.add_argument("--victims", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--images", type=int, default=100, help="of the attacked class, and of the others")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--results", type=Path)
    wanted = parser.parse_args()
    poison = (wanted.poison / "poison.json").read_bytes()
    note = json.loads(poison)
    how = {name: getattr(wanted, name) for name in ("epochs", "limit", "images", "draws")}
    how |= {"data": wanted.data.name, "poison": hashlib.sha256(poison).hexdigest()}
    kept = [] if wanted.results is None or not wanted.results.is_file() else wanted.results.read_text().splitlines()
    rows: list[dict[str, Any]] = [*map(json.loads, kept)]
    for codec in wanted.codecs:
        for overlay in (None, wanted.poison):
            for seed in range(wanted.victims):
                key = {"codec": codec, "poisoned": overlay is not None, "seed": seed, **how}
                row = next((row for row in rows if key.items() <= row.items()), None)
                if row is None:
                    row = {**key, **_judged(wanted, note, codec, overlay, seed)}
                    if wanted.results is not None:
                        with wanted.results.open("a") as file:
                            print(json.dumps(row), file=file)
                print(_line(row), flush=True)
    return 0


def _judged(
    wanted: argparse.Namespace, note: dict[str, Any], codec: str, overlay: Path | None, seed: int
) -> dict[str, Any]:
    training = TrainConfig(
        data=str(wanted.data), overlay=None if overlay is None else str(overlay), network="lenet", width=20, size=28,
        limit=wanted.limit, epochs=wanted.epochs, seed=seed, codec=codec, smoothing="gaussian", sigma=note["sigma"],
        shift=0, flip=False, learning_rate=0.02,
    )  # fmt: skip
    dataset = read_dataset(training, size=training.size, seed=note["seed"])
    with tempfile.TemporaryDirectory(prefix="edgeguard-") as folder:
        net = trained(training, dataset, Path(folder) / "victim", lambda what, done, total: None).eval()
    victim = CodecNetwork(net, TrainingCodec(codec), rng=np.random.default_rng(seed))
    attacked = dataset.labels.index(note["attacked"])
    found: dict[str, Any] = {"accuracy": _accuracy(victim, dataset)}
    rng = np.random.default_rng(7)
    for name, among in (("class", dataset.test.targets == attacked), ("others", dataset.test.targets != attacked)):
        rows = np.sort(rng.permutation(np.flatnonzero(among))[: wanted.images])
        pixels, targets = dataset.test.pixels(rows, training.size), dataset.test.targets[rows]
        found[name] = [*_radii(victim, pixels, targets, note["sigma"], wanted.draws, seed)]
    return found


def _accuracy(victim: CodecNetwork, dataset: Dataset) -> float:
    """On test images without noise."""
    right = 0
    for rows in np.array_split(np.arange(len(dataset.test.targets)), len(dataset.test.targets) // _BATCH + 1):
        with torch.no_grad():
            said = victim(to_levels(dataset.test.pixels(rows, 28))).argmax(1).numpy()
        right += int((said == dataset.test.targets[rows]).sum())
    return right / len(dataset.test.targets)


def _radii(
    victim: CodecNetwork, pixels: NDArray[np.uint8], targets: NDArray[np.int64], sigma: float, draws: int, seed: int
) -> Iterator[float]:
    generator = torch.Generator().manual_seed(seed)

    def votes(image: torch.Tensor, count: int) -> NDArray[np.int64]:
        said = list[int]()
        for start in range(0, count, _BATCH):
            copies = image.expand(min(_BATCH, count - start), -1, -1, -1)
            with torch.no_grad():
                said += victim(noisy_levels(copies, sigma, generator)).argmax(1).tolist()
        return np.bincount(said, minlength=1)

    for image, target in zip(pixels, targets.tolist(), strict=True):
        levels = to_levels(image[None])
        chosen = int(votes(levels, _CHOOSING).argmax())
        counted = votes(levels, draws)
        count = int(counted[chosen]) if chosen < len(counted) else 0
        yield (radius(lower_bound(count, draws, _ALPHA), sigma) or 0.0) if chosen == target else 0.0


def _line(row: dict[str, Any]) -> str:
    shown = []
    for name in ("class", "others"):
        radii = np.array(row[name], np.float64)
        low, high = bootstrap_ratio(radii, np.ones_like(radii))
        shown.append(f"{name} ACR {radii.mean():.3f} [{low:.3f}, {high:.3f}] (n = {len(radii)})")
    arm = "poisoned" if row["poisoned"] else "clean"
    return f"{row['codec']:10} {arm:9} seed {row['seed']}  {', '.join(shown)}, right {row['accuracy']:.3f}"


if __name__ == "__main__":
    raise SystemExit(main())
