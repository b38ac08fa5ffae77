"""Convert a trained network from Python: the demo's, with rendered frames. Needs the extra `convert`; some minutes.

Instead of the path you may give a torch module in memory, with an example input or a size. This program carries its
labels, crop and preprocessing; for yours say `labels=(...)`, `crop="none"`, `preprocess="imagenet"` and the like.
Instead of the list of frames you may name a folder: take frames of your camera. With `evaluation="testset/"`, a folder
with labels, accuracy is compared too.
"""

import sys

from edgeguard import CheckFailed, load_model
from edgeguard.demo.assets import bundled_program, stand_in_images
from edgeguard_converters import convert


def main(output: str) -> None:
    """The file appears only where it passed: float against int8, on frames that were not calibrated with."""
    frames = stand_in_images()
    try:
        done = convert(bundled_program(), output=output, calibration=frames, profile="fd")
    except CheckFailed as error:
        sys.exit(f"nothing was written: {error}")
    print(f"wrote {done.path}, {done.bytes} bytes; agreement {done.report.agreement}")
    for note in done.notes:
        print("note:", note)
    print("its answer to the first frame:", load_model(done.path)(frames[0]).label)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cards.tflite")
