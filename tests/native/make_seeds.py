"""Small JPEGs of every kind that the fuzzer starts from: python tests/native/make_seeds.py FOLDER."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def main(folder: Path) -> None:
    """Write the seeds."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(40) * 3, np.arange(56) * 2)[:, :, None] + np.array([0, 40, 80])
    kinds: dict[str, dict[str, Any]] = {
        "444": {"subsampling": 0},
        "422": {"subsampling": 1},
        "420": {"subsampling": 2},
        "progressive": {"progressive": True},
        "restart": {"restart_marker_blocks": 2},
        "optimised": {"optimize": True},
        "gray": {},
    }
    for name, options in kinds.items():
        for k, picture in enumerate((smooth % 256, rng.integers(0, 256, (17, 24, 3)))):
            buffer = io.BytesIO()
            mode = "L" if name == "gray" else "RGB"
            Image.fromarray(picture.astype(np.uint8)).convert(mode).save(buffer, "JPEG", quality=70, **options)
            for choice in (b"\x18\x00", b"\x01\x35", b"\xff\xff"):  # the last bytes choose tables, scale and crop
                (folder / f"{name}-{k}-{choice.hex()}.jpg").write_bytes(buffer.getvalue() + choice)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
