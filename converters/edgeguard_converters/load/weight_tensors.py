"""Tensors of a file as torch's."""

import torch

from edgeguard_converters.load.pickle_records import Tensor


def torch_tensor(found: Tensor) -> torch.Tensor:
    """A copy of a tensor that was read, of the type that the file says."""
    kind: torch.dtype = getattr(torch, found.kind)
    values = torch.from_numpy(found.values.copy())
    return values.view(kind) if values.dtype != kind else values
