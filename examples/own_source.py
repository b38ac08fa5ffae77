"""A source of your own: anything that gives RGB arrays or JPEG bytes. Here it is a moving gray ramp."""

import time
from collections.abc import Iterator

import numpy as np

from edgeguard import Applied, Captured, Pipeline, load_model
from edgeguard.demo.assets import bundled_model


class Ramp:
    """Twenty frames; `live` is False, so none is dropped when the model is slower."""

    name = "ramp"
    live = False
    applied = Applied(width=320, height=240)

    def frames(self) -> Iterator[Captured]:
        """One frame after the other. A camera's own JPEG goes into `jpeg`, undecoded: the guard reads its tables."""
        for index in range(20):
            rgb = np.full((240, 320, 3), np.arange(320)[None, :, None] // 2 + index, np.uint8)
            yield Captured(index, self.name, None, rgb, time.time(), "source")

    def close(self) -> None:
        """Release the device; it may be called twice, and from another thread."""


if __name__ == "__main__":
    with Pipeline(Ramp(), load_model(bundled_model())) as pipeline:
        for result in pipeline:
            print(result.frame, result.prediction.label, f"{result.prediction.score:.2f}")
