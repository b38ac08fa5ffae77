"""What the patch guards cost: CPU milliseconds a frame on one core, beside the model's own inference.

    taskset -c 0 python benchmarks/patchguards.py IMAGES [--model MODEL.tflite] [--side 224] [--rounds 5]

Photographs of a folder, cropped and resized to the side; all guards in turn on each, medians; ratios to one inference
of the model (default: the bundled card model).
"""

import argparse
import statistics
import time
from pathlib import Path

import cv2
import numpy as np

from edgeguard.datasets.images import list_images
from edgeguard.demo.assets import bundled_model
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.model import load_model
from edgeguard.model.contract import InputSpec, Preprocess
from edgeguard.patchguard import PATCH_GUARDS, patch_guard
from edgeguard.preprocess.crop_resize import crop_and_resize
from edgeguard.preprocess.geometry import quantize_input


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", default=str(bundled_model()))
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    model = load_model(options.model, threads=1)
    contract = model.contract
    spec = InputSpec(options.side, options.side)
    frames = [decode_rgb(path.read_bytes()) for path in list_images(options.images)[:60]]
    inputs = [crop_and_resize(frame, spec, Preprocess()) for frame in frames]
    own = [
        quantize_input(crop_and_resize(f, contract.input, contract.preprocess), contract.input, contract.preprocess)
        for f in frames
    ]
    guards = {name: patch_guard(name) for name in PATCH_GUARDS}
    times: dict[str, list[float]] = {name: [] for name in ("inference", *guards)}
    for _ in range(options.rounds):
        for image, tensor in zip(inputs, own, strict=True):
            for name in times:
                began = time.process_time()
                if name == "inference":
                    model.infer(tensor)
                else:
                    guards[name](image)
                times[name].append(time.process_time() - began)
    one = statistics.median(times["inference"])
    print(f"| {options.side} x {options.side}, {len(inputs)} photographs | ms | p95 | inferences |\n|---|---|---|---|")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"| {name} | {1e3 * median:.2f} | {1e3 * float(np.percentile(values, 95)):.2f} | {median / one:.2f} |")


if __name__ == "__main__":
    main()
