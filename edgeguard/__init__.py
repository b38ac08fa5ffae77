"""EdgeGuard: defended vision models for a Raspberry Pi or a Coral, with the truth about what the defence holds.

The names below are the Python interface of the runtime. They are imported when they are first used, so that `import
edgeguard` stays light. docs/python.md shows them at work.

Example:
    >>> from edgeguard import Pipeline
    >>> with Pipeline("photos/", "model.tflite") as pipeline:  # doctest: +SKIP
    ...     for result in pipeline:
    ...         print(result.source, result.prediction.label, result.prediction.score)
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeguard.camera import Applied, Captured, Lost, Source, open_source
    from edgeguard.errors import CheckFailed, DeviceError, EdgeGuardError, InputError
    from edgeguard.guard import Certificate, GuardProfile, Sanitizer, certificate
    from edgeguard.model import Model, Prediction, Score, load_model
    from edgeguard.pipeline import Pipeline, Region
    from edgeguard.pipeline.result import FrameResult
    from edgeguard.sinks.base import Sink

__version__ = "0.1.0"

__all__ = [
    "Applied", "Captured", "Certificate", "CheckFailed", "DeviceError", "EdgeGuardError", "FrameResult",
    "GuardProfile", "InputError", "Lost", "Model", "Pipeline", "Prediction", "Region", "Sanitizer", "Score", "Sink",
    "Source", "__version__", "certificate", "load_model", "open_source",
]  # fmt: skip

#: Where each public name is.
_MODULES = {
    "edgeguard.camera": ("Applied", "Captured", "Lost", "Source", "open_source"),
    "edgeguard.errors": ("CheckFailed", "DeviceError", "EdgeGuardError", "InputError"),
    "edgeguard.guard": ("Certificate", "GuardProfile", "Sanitizer", "certificate"),
    "edgeguard.model": ("Model", "Prediction", "Score", "load_model"),
    "edgeguard.pipeline": ("Pipeline", "Region"),
    "edgeguard.pipeline.result": ("FrameResult",),
    "edgeguard.sinks.base": ("Sink",),
}

# OpenCV reads this when it is imported: an image that claims more pixels (64 million) is refused, not allocated.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 26))

if not TYPE_CHECKING:  # for mypy every name would be there

    def __getattr__(name: str) -> Any:
        """Import a public name's module when the name is first used."""
        for module, names in _MODULES.items():
            if name in names:
                found = globals()[name] = getattr(importlib.import_module(module), name)
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")

    def __dir__() -> list[str]:
        """With the names that were not used yet."""
        return sorted({*globals(), *__all__})
