"""The stages of a frame, each between two calls of sched_yield; runs under emulation, see count_instructions.py.

    python stages.py FRAME.jpg

Prints a name for each number that the plugin prints. Each stage runs once unmarked before.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import numpy as np

from edgeguard.dct.native_kernel import sanitize_native, tensor_native
from edgeguard.demo.assets import bundled_model
from edgeguard.guard import GuardProfile
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.model import load_model
from edgeguard.preprocess.geometry import PreprocessSpec, place

cv2.setNumThreads(1)
data = Path(sys.argv[1]).read_bytes()
rgb = decode_rgb(data)
height, width = rgb.shape[:2]
fd = GuardProfile.preset("fd")
model = load_model(bundled_model(), threads=1)
spec = model.contract.input
side = (spec.width, spec.height)
box = place(width, height, spec, cast("PreprocessSpec", SimpleNamespace(crop="center", crop_fraction=1.0))).source
tensor = np.zeros((1, spec.height, spec.width, 3), spec.dtype)
out = np.empty((spec.height, spec.width, 3), np.uint8)
STAGES: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "decode": lambda: decode_rgb(data),
    "sanitize": lambda: sanitize_native(rgb, fd),
    "resize": lambda: cv2.resize(rgb[:height, :height], side, interpolation=cv2.INTER_AREA),
    "sanitize and resize in one": lambda: tensor_native(rgb, fd, box, out, signed=False),
    "inference": lambda: model.run(tensor),
    "the whole answer": lambda: model(rgb),
}
for stage in STAGES.values():
    stage()
os.sched_yield()
print("start", flush=True)
for name, stage in STAGES.items():
    stage()
    os.sched_yield()
    print(name, flush=True)
    os.sched_yield()
    print("print", flush=True)
