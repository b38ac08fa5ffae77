"""Make the bundled files that follow from the trained program: the .tflite, the clip, the altered frames.

python -m edgeguard.demo.make_assets          # after assets/cards.pt2 (see card_views)
"""

import cv2
import numpy as np

from edgeguard.demo import demo
from edgeguard.demo.assets import ASSETS, bundled_clip, bundled_model, save_altered
from edgeguard.demo.attack import alter
from edgeguard.model import load_model
from edgeguard.scene.cards import LABELS
from edgeguard.scene.views import clip_views, render
from edgeguard.system.files import replaced


def make_clip() -> None:
    """Render the clip and store it losslessly (FFV1), then check that it is."""
    frames = [render(view, 320, 240) for view in clip_views()]
    with replaced(bundled_clip()) as partial:
        writer = cv2.VideoWriter(str(partial), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"FFV1"), 12, (320, 240))
        for frame in frames:
            writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
        writer.release()
    stored = demo.clip_frames()
    if len(stored) != len(frames) or any((a != b).any() for a, b in zip(stored, frames, strict=True)):
        raise RuntimeError("the clip is not lossless with this OpenCV")


def main() -> None:
    """Make everything but the trained program itself."""
    make_clip()
    demo.convert_cards(ASSETS).replace(bundled_model())
    model, clip = load_model(bundled_model()), demo.clip_frames()
    assert model.sanitizer is not None
    truth = [LABELS.index(view.card or "background") for view in clip_views()]
    altered = [alter(model, clip[i], i, truth[i]) for i in demo.ATTACKED_FRAMES]
    chosen = [clip[i] for i in demo.ATTACKED_FRAMES]
    save_altered(altered, chosen, [model.sanitizer(frame) for frame in chosen])
    for path in sorted(ASSETS.iterdir()):
        print(f"{path.stat().st_size:9d} {path.name}")


if __name__ == "__main__":
    main()
