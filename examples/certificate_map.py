"""Which blocks of a frame are proven against changes in transit: the margins as a picture, red where there is none."""

import cv2
import numpy as np

from edgeguard import GuardProfile, Sanitizer, certificate
from edgeguard.scene.views import View, render

profile = GuardProfile.preset("fd")
frame = render(View("danger", 3.0, 20, 40, 5, 0.2, -0.3, 5), 320, 240)  # or your picture: RGB, uint8, (h, w, 3)

# The certificate is about what pass 2 receives. So the frame goes through pass 1 first, with the same table.
received = Sanitizer(profile)(frame, "first")
found = certificate(received, profile)
assert found is not None, "ycbcr profiles have no certificate: see docs/guard.md"
print(f"{found.share_1:.1%} of blocks cannot be altered by +-1 level, {found.share_2:.1%} by +-2")
print(f"smallest margin of the frame: {found.frame_min:.2f} levels")

weakest = found.map.min(axis=2)  # (rows, columns) of 8x8 blocks; the weakest of the three channels
heat = np.clip(weakest / 2, 0, 1)[..., None]  # two levels and more are green
red, green = np.array([220.0, 40, 40]), np.array([40.0, 180, 70])
blocks = cv2.resize((red + heat * (green - red)).astype(np.uint8), None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)
picture = cv2.addWeighted(received, 0.5, blocks[: received.shape[0], : received.shape[1]], 0.5, 0)
cv2.imwrite("certificate.png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
