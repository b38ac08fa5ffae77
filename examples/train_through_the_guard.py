"""Train a small network on what the guard leaves of images. Needs the extra `convert`; about a minute.

    python examples/train_through_the_guard.py photos/ trained/

`photos/` has class folders below train/ and test/ (or class folders alone: a tenth is then kept for testing).
"""

import sys
from pathlib import Path

from edgeguard.train.config import TrainConfig
from edgeguard.train.run import train


def main(photos: str, folder: str) -> None:
    """Two epochs of a narrow network: it shows the call. Run again, a training that was interrupted goes on."""
    config = TrainConfig(
        data=photos,
        network="resnet9",
        width=8,
        size=32,
        epochs=2,
        batch=24,
        codec="fd",
        flip=False,  # a mirrored digit or sign is another one
    )
    trained = train(config, Path(folder))
    last = trained.epochs[-1]
    print(f"test accuracy {last.test_accuracy:.3f} [{last.test_low:.3f}, {last.test_high:.3f}], n = {last.test_n}")
    print(f"next: edgeguard convert {trained.model} --calibrate {photos}/train --output model.tflite")


if __name__ == "__main__":
    main(*sys.argv[1:])
