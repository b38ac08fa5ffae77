"""An alarm on what a JPEG round trip changes most, after the recompression cue of PAD (arXiv 2404.16452)."""

from dataclasses import dataclass

import cv2
import numpy as np

from edgeguard.patchguard.base import Guarded, Image


@dataclass(frozen=True, kw_only=True)
class RecompressionAlarm:
    """Alarm where a region loses far more in a JPEG round trip than the image does on average.

    Adversarial patches carry strong fine detail, which coding at a low quality takes away. The image stays as it is.

    Attributes:
        quality: of the round trip.
        window: side of the regions, pixels.
        ratio: a region's mean absolute loss over the image's at which the alarm is raised...
        least: ... if that loss is at least so many levels.

    Limits: fine print and foliage raise it; a patch that is optimised to survive JPEG does not.
    """

    quality: int = 30
    window: int = 25
    ratio: float = 2.5
    least: float = 9.0
    name: str = "recompression"

    def __call__(self, image: Image) -> Guarded:
        """See `PatchGuard`."""
        _, coded = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)[:, :, ::-1]
        lost = cv2.absdiff(image, np.ascontiguousarray(decoded)).astype(np.float32).mean(2)
        local = cv2.boxFilter(lost, -1, (self.window, self.window), borderType=cv2.BORDER_REFLECT)
        suspect = np.asarray(local > max(self.ratio * float(lost.mean()), self.least))
        return Guarded(image, suspect, bool(suspect.any()))
