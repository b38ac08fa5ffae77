import pytest

from edgeguard.errors import InputError, is_out_of_memory


def _wrapped(inner: Exception) -> Exception:
    try:
        try:
            raise inner
        except Exception as error:
            raise InputError("cannot convert") from error
    except InputError as error:
        return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (ImportError("libx.so: failed to map segment from shared object"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 12 bytes"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("OpenCV(5.0.0) error: (-4:Insufficient memory) Failed to allocate 9 bytes"), True),
        (ValueError("bad shape"), False),
        (InputError("bad_alloc.tflite: the operator 'can't allocate memory' is not known"), False),
        (ValueError("invalid literal for int() with base 10: 'bad_alloc'"), False),
        (OSError(28, "No space left on device"), False),
    ],
)
def test_errors_of_memory_are_known_however_deep(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
    assert is_out_of_memory(_wrapped(error)) is expected


def test_a_chain_of_errors_that_is_a_ring_has_an_end() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__cause__ = second, first
    assert not is_out_of_memory(first)
