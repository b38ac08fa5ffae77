"""The doors through which torch's archive loader unpickles, shut."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from unittest import mock

import torch

from edgeguard_converters.load.refused import PickleRefused

__all__ = ["PickleRefused", "doors_shut"]


@contextmanager
def doors_shut() -> Iterator[None]:
    """While open, nothing in torch's archive loader can unpickle: the second line of defence."""
    real_load = torch.load

    def safe_load(*args: Any, **kwargs: Any) -> Any:
        return real_load(*args, **{**kwargs, "weights_only": True})

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise PickleRefused("the archive holds a pickled object; refused, its code was not run")

    with (
        mock.patch.object(torch, "load", safe_load),
        mock.patch.object(torch._C, "_pickle_load_obj", refuse),
        mock.patch("torch.export.pt2_archive._package.pickle.loads", refuse),
    ):
        yield
