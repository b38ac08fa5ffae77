"""A folder of camera JPEGs for `edgeguard run`: python tests/release/frames.py FOLDER"""

import sys
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from edgeguard.guard import GuardProfile, encode_jpeg
from edgeguard.scene.cards import CARDS
from edgeguard.scene.views import random_view, render

folder, generator = Path(sys.argv[1]), np.random.default_rng(3)
folder.mkdir(parents=True, exist_ok=True)
for number, card in enumerate(islice(cycle(CARDS), 20)):
    jpeg = encode_jpeg(render(random_view(generator, card)), GuardProfile.preset("jpeg:90"))
    (folder / f"{number:02d}.jpg").write_bytes(jpeg)
