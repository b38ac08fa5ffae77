"""EdgeGuard: defended vision models for a Raspberry Pi or a Coral, with the truth about what the defence holds."""

import os

__version__ = "0.1.0"

# OpenCV reads this when it is imported: an image that claims more pixels (64 million) is refused, not allocated.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 26))
