"""Arrays of somebody else: of the sizes that they say, or refused."""

import io
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy
from system.crafted_zip import BZIP2, DEFLATED, LZMA, bomb, memory_below, zip_of_many

from edgeguard.datasets.arrays import foreign_arrays
from edgeguard.errors import InputError

MOST = 1 << 20


def _npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def test_what_numpy_writes_is_read() -> None:
    arrays: dict[str, Any] = {
        "a": np.arange(6).reshape(2, 3),
        "b": np.float32(2.5),
        "c": np.zeros((0, 3)),
        "d": np.eye(3)[:, :2].T,
    }
    found = foreign_arrays(_npz(**arrays), MOST)
    assert found.keys() == arrays.keys()
    for name, array in found.items():
        assert array.dtype == arrays[name].dtype and array.shape == arrays[name].shape and array.flags.writeable
        assert np.array_equal(array, arrays[name])


@pytest.mark.parametrize("method", [DEFLATED, BZIP2, LZMA])
def test_a_packed_array_has_the_size_that_it_says(method: int) -> None:
    data = bomb("a.npy", method)
    with memory_below(MOST), pytest.raises(InputError, match=r"'a\.npy'"):
        foreign_arrays(data, MOST)


def test_objects_giants_and_long_lists_are_refused() -> None:
    giant = io.BytesIO()
    npy.write_array_header_1_0(giant, {"shape": (1 << 40,), "fortran_order": False, "descr": "|u1"})
    lying = _npz(a=np.frombuffer(giant.getvalue(), np.uint8))
    start = lying.index(b"\x93NUMPY") + 128  # the array's own bytes are another array's header
    for data in (
        _npz(a=np.array([{}], object)),
        bomb("a.npy", DEFLATED, 10, size=10),
        lying[:start],
        zip_of_many(100_001),
    ):
        with memory_below(16 * MOST), pytest.raises(InputError):
            foreign_arrays(data, MOST)
    with pytest.raises(InputError, match="more than 1000 bytes"):
        foreign_arrays(_npz(a=np.zeros(1000)), 1000)
