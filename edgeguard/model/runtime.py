"""The TensorFlow Lite runtime that is installed, and the one wrapper around its interpreter.

Pythons of other environments read this file too (`convert --runtime`). There only numpy and a runtime are installed, so
what EdgeGuard itself offers is imported where only EdgeGuard comes by.
"""

from __future__ import annotations  # those environments may hold an older Python

import importlib
import os
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_RUNTIMES = (("ai-edge-litert", "ai_edge_litert.interpreter"), ("tflite-runtime", "tflite_runtime.interpreter"))


class GraphRunner:
    """A .tflite in the installed runtime, its tensors allocated.

    Batches have one element. `detail` is what the runtime says of a tensor: `name`, `index`, `shape`, `dtype` and
    `quantization` (scale and zero point).

    Attributes:
        inputs: details of the graph's inputs, in order.
        outputs: details of the graph's outputs, in order.
        has_delegates: whether `delegates` took operators.

    Example:
        >>> runner = GraphRunner("model.tflite", threads=2)              # doctest: +SKIP
        >>> (scores,) = runner.run(np.zeros((1, 224, 224, 3), np.uint8))  # doctest: +SKIP
        >>> scores.shape                                                  # doctest: +SKIP
        (1001,)
    """

    def __init__(
        self,
        model: bytes | str | os.PathLike[str],
        *,
        threads: int = 1,
        delegates: Sequence[Any] = (),
        every_tensor: bool = False,
    ) -> None:
        """Load a graph.

        Args:
            model: the bytes of a .tflite, or its path.
            threads: of the CPU kernels, at least 1.
            delegates: from the runtime's `load_delegate`, for the operators that they take.
            every_tensor: keep what lies between the operators, for `tensors`. XNNPACK is left out then, since it fuses
                operators; the built-in kernels compute instead.

        Raises:
            DeviceError: no runtime is installed.
            ValueError, RuntimeError: the runtime refuses the graph.
        """
        module = _interpreter_module()[1]
        options: dict[str, Any] = {"num_threads": threads}
        if delegates:
            options["experimental_delegates"] = list(delegates)
        if every_tensor:
            options["experimental_preserve_all_tensors"] = True
            options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        options["model_content" if isinstance(model, bytes) else "model_path"] = (
            model if isinstance(model, bytes) else os.fspath(model)
        )
        self.has_delegates = bool(delegates)
        self.interpreter = module.Interpreter(**options)
        self.interpreter.allocate_tensors()
        self.inputs: list[dict[str, Any]] = self.interpreter.get_input_details()
        self.outputs: list[dict[str, Any]] = self.interpreter.get_output_details()

    @property
    def delegated(self) -> bool:
        """True where a delegate (XNNPACK counts) took at least part of the graph."""
        return any("DELEGATE" in operator["op_name"] for operator in self.interpreter._get_ops_details())

    @property
    def tensor_bytes(self) -> int:
        """Of all tensors, weights among them. The memory is less: tensors that do not live together share it."""
        details = self.interpreter.get_tensor_details()
        return sum(int(np.prod(one["shape"], dtype=np.int64)) * np.dtype(one["dtype"]).itemsize for one in details)

    def set(self, tensor: NDArray[Any], position: int = 0) -> None:
        """Fill the input at `position` with a tensor of exactly its shape and type.

        Raises:
            ValueError: another shape or type.
        """
        self.interpreter.set_tensor(self.inputs[position]["index"], tensor)

    def invoke(self) -> None:
        """Compute the graph once.

        Raises:
            RuntimeError: a kernel fails.
        """
        self.interpreter.invoke()

    def get(self, detail: dict[str, Any]) -> NDArray[Any]:
        """A copy of a tensor's values as they are stored, batch axis included."""
        values: NDArray[Any] = self.interpreter.get_tensor(detail["index"])
        return values

    def run(self, tensor: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """The dequantized outputs for one input tensor, float32, without the batch axis."""
        raw = self.run_raw(tensor)
        return tuple(dequantize(values, detail) for values, detail in zip(raw, self.outputs))  # noqa: B905

    def run_raw(self, tensor: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """The outputs for one input tensor as they are stored, without the batch axis."""
        self.set(tensor)
        self.invoke()
        return tuple(self.get(detail)[0] for detail in self.outputs)

    def tensors(self, names: Collection[str]) -> dict[str, dict[str, Any]]:
        """Details of the tensors with these names, in the graph's order; see `every_tensor`."""
        return {detail["name"]: detail for detail in self.interpreter.get_tensor_details() if detail["name"] in names}

    def get_if_kept(self, detail: dict[str, Any]) -> NDArray[Any] | None:
        """As `get`, or None for a constant that the runtime folded away."""
        try:
            return self.get(detail)
        except ValueError:
            return None


def load_runner(data: bytes, *, threads: int = 1, delegates: Sequence[Any] = ()) -> GraphRunner:
    """A graph from outside, loaded in silence; see `GraphRunner` for the arguments.

    Raises:
        DeviceError: no runtime is installed.
        InputError: the runtime refuses the graph.
    """
    from edgeguard.errors import InputError
    from edgeguard.system.redirect import muted

    try:
        with muted():
            return GraphRunner(data, threads=threads, delegates=delegates)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"the runtime refuses the model: {reason}") from error


def dequantize(values: NDArray[np.generic], detail: dict[str, Any]) -> NDArray[np.float32]:
    """`(q - zero_point) * scale` for integer tensors of any shape; float tensors as they are, in float32.

    Example:
        >>> dequantize(np.array([0, 128, 255], np.uint8), {"quantization": (0.5, 128)}).tolist()
        [-64.0, 0.0, 63.5]
    """
    scale, zero_point = detail["quantization"]
    if np.issubdtype(values.dtype, np.floating) or scale == 0:
        return values.astype(np.float32)
    return ((values.astype(np.float32) - zero_point) * np.float32(scale)).astype(np.float32)


def runtime() -> tuple[str, str, Callable[..., Any], Callable[..., Any]]:
    """(name, version, Interpreter, load_delegate) of the runtime that is installed.

    Raises:
        DeviceError: there is none.
    """
    from importlib.metadata import version

    name, module = _interpreter_module()
    return name, version(name), module.Interpreter, module.load_delegate


def _interpreter_module() -> tuple[str, Any]:
    """The runtime's package and its module `interpreter`: LiteRT first, tflite-runtime where only that is there."""
    for package, name in _RUNTIMES:
        try:
            return package, importlib.import_module(name)
        except ImportError:
            continue
    from edgeguard.errors import DeviceError

    raise DeviceError("no TensorFlow Lite runtime is installed: pip install ai-edge-litert")
