"""The TensorFlow Lite runtime that is installed, behind one wrapper."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import DeviceError, InputError
from edgeguard.system.redirect import muted


def runtime() -> tuple[str, str, Callable[..., Any], Callable[..., Any]]:
    """(name, version, Interpreter, load_delegate) of the runtime that is installed.

    Raises:
        DeviceError: there is none.
    """
    from importlib.metadata import version

    try:
        from ai_edge_litert.interpreter import Interpreter, load_delegate

        return "ai-edge-litert", version("ai-edge-litert"), Interpreter, load_delegate
    except ImportError:
        pass
    try:
        from tflite_runtime.interpreter import Interpreter, load_delegate

        return "tflite-runtime", version("tflite-runtime"), Interpreter, load_delegate
    except ImportError as error:
        raise DeviceError("no TensorFlow Lite runtime is installed: pip install ai-edge-litert") from error


def dequantise(values: NDArray[np.generic], detail: dict[str, Any]) -> NDArray[np.float32]:
    """`(q - zero_point) * scale` for integer tensors; float tensors as they are."""
    scale, zero_point = detail["quantization"]
    if np.issubdtype(values.dtype, np.floating) or scale == 0:
        return values.astype(np.float32)
    return ((values.astype(np.float32) - zero_point) * np.float32(scale)).astype(np.float32)


def make_interpreter(data: bytes, delegates: list[Any], threads: int) -> Any:
    """The runtime's interpreter with its tensors allocated.

    Raises:
        InputError: the runtime refuses the model.
    """
    _, _, interpreter_class, _ = runtime()
    try:
        with muted():
            interpreter = interpreter_class(model_content=data, num_threads=threads, experimental_delegates=delegates)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"the runtime refuses the model: {reason}") from error
    return interpreter
