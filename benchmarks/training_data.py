"""What a training reads: bytes an image and images a second, decoded tensors against JPEG bytes in memory.

    python benchmarks/training_data.py DATA.zip [--size 32] [--batches 40]

Both ways make the same batches (augmentation included, no codec and `fd`); one process, the ways in turn, medians.
"""

import argparse
import statistics
import time
from dataclasses import replace

from edgeguard.train.batches import Batches
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.config import AugmentConfig, DataConfig
from edgeguard.train.data import Part, read_dataset

ROUNDS = 5


def main() -> None:
    """Read twice, make batches in turn, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--limit", type=int, default=10_000)
    options = parser.parse_args()
    wanted = DataConfig(data=options.data, limit=options.limit)
    parts = {
        keep: read_dataset(replace(wanted, keep=keep), size=options.size, seed=0).train for keep in ("pixels", "jpeg")
    }
    count = len(parts["jpeg"])
    print(f"{count} images, {parts['jpeg'].coding}")
    coded, decoded = parts["jpeg"].file_bytes / count, 3 * options.size**2
    print(f"bytes an image: JPEG {coded:.0f}, decoded {decoded} ({decoded / coded:.2f} times as many)")
    for codec in ("none", "fd"):
        rates: dict[str, list[float]] = {keep: [] for keep in parts}
        for _ in range(ROUNDS):
            for keep, part in parts.items():
                rates[keep].append(images_a_second(part, options.size, codec, options.batches))
        medians = {keep: statistics.median(values) for keep, values in rates.items()}
        print(
            f"codec {codec}: images/s from decoded tensors {medians['pixels']:.0f}, "
            f"from JPEG bytes {medians['jpeg']:.0f} ({medians['jpeg'] / medians['pixels']:.2f} of it)"
        )


def images_a_second(part: Part, size: int, codec: str, batches: int) -> float:
    """How fast batches are made, network left out."""
    maker = Batches(part, size=size, batch=256, seed=0, augment=AugmentConfig(), codec=TrainingCodec(codec))
    began = time.perf_counter()
    seen = sum(len(maker.at(step).targets) for step in range(batches))
    return seen / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
