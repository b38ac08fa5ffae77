"""The flow of `run`: capture, pass 1, one slot, pass 2, crop and resize, model, results."""

from edgeguard.pipeline.pipeline import Pipeline
from edgeguard.preprocess.region import Region

__all__ = ["Pipeline", "Region"]
