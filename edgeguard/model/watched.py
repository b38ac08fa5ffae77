"""A foreign graph in a process of its own, watched for good: what it breaks is that process, and never this one."""

import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import DeviceError, InputError
from edgeguard.model.runtime import dequantize
from edgeguard.system.foreign import parsing

#: Seconds for Python and the runtime to load; nothing foreign takes part in it.
_LIBRARIES_S = 60.0
#: Seconds for the graph to load and to run on zeros.
LOAD_S = 10.0
#: Seconds for a frame.
FRAME_S = 8.0
#: Bytes that a graph may use beside four times its file.
_MEMORY_BYTES = 512 << 20
_STACK_BYTES = 8 << 20  # of each thread
_MOST_DEATHS, _MOST_HANGS = 3, 2  # in a row: then another try is in vain
_MOST_TENSOR_BYTES = 256 << 20
_MOST_MESSAGE_BYTES = 1 << 20
_TYPES = ("float32", "float16", "float64", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "bool")
_KEPT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL")


class Runner(Protocol):
    """A graph that can be run: `runtime.GraphRunner` in this process, or `WatchedRunner` in another one."""

    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]

    def run(self, tensor: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """The dequantized outputs for one input tensor, float32, without the batch axis."""

    def run_raw(self, tensor: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """The outputs for one input tensor as they are stored, without the batch axis."""


class GraphFailure(InputError):
    """The graph failed on one frame. It can be run again: on another frame it may work."""


class WatchedRunner:
    """A .tflite in a child process, with the interface of `GraphRunner`.

    The child has a limit of memory, and a deadline for each frame. When it dies or does not answer, the frame fails
    with a `GraphFailure` and the next frame starts another child.

    Attributes:
        inputs, outputs: as those of `GraphRunner`.

    Example:
        >>> with WatchedRunner(data) as runner:                                # doctest: +SKIP
        ...     (scores,) = runner.run(np.zeros((1, 224, 224, 3), np.uint8))
    """

    def __init__(self, data: bytes, *, threads: int = 1, edgetpu: bool = False) -> None:
        """Start the child, load the graph there, and run it once on zeros.

        Args:
            data: the bytes of a .tflite.
            threads: of the CPU kernels.
            edgetpu: give the Edge TPU what it can take.

        Raises:
            InputError: the runtime refuses the graph, crashes on it, or does not come to an end.
            DeviceError: no runtime is installed, the Edge TPU cannot be used, or no process can be started.
        """
        self._data, self._threads, self._edgetpu = data, threads, edgetpu
        self._child: _Child | None = None
        self._deaths = self._hangs = 0
        self.inputs: list[dict[str, Any]] = []
        self.outputs: list[dict[str, Any]] = []
        self._start()

    def __enter__(self) -> "WatchedRunner":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child. A later run starts another one."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def run(self, tensor: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """The dequantized outputs for one input tensor, float32, without the batch axis.

        Raises:
            GraphFailure: the graph failed on this tensor; `InputError` where it does so again and again.
            ValueError: another shape or type.
        """
        return tuple(
            dequantize(values, detail) for values, detail in zip(self.run_raw(tensor), self.outputs, strict=True)
        )

    def run_raw(self, tensor: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """The outputs for one input tensor as they are stored, without the batch axis; errors as `run`."""
        self.set(tensor)
        self.invoke()
        return tuple(self.get(detail)[0] for detail in self.outputs)

    def set(self, tensor: NDArray[Any], position: int = 0) -> None:
        """Fill the input at `position` with a tensor of exactly its shape and type.

        Raises:
            ValueError: another shape or type.
        """
        view = self._running().inputs[position]
        if tensor.shape != view.shape or tensor.dtype != view.dtype:
            raise ValueError(f"the graph takes {view.dtype} {view.shape}, got {tensor.dtype} {tensor.shape}")
        view[...] = tensor

    def invoke(self) -> None:
        """Compute the graph once; errors as `run`."""
        child = self._running()
        try:
            child.compute()
        except _Died as death:
            self._child = None
            self._deaths += 1
            self._hangs += death.hung
            if self._deaths >= _MOST_DEATHS or self._hangs >= _MOST_HANGS:
                raise InputError(f"{death}; that was {self._deaths} frames in a row") from death
            raise GraphFailure(str(death)) from death
        except BaseException:  # a signal's: what the child answers now belongs to nobody
            self.close()
            raise
        self._deaths = self._hangs = 0

    def get(self, detail: dict[str, Any]) -> NDArray[Any]:
        """A copy of an output's values as they are stored, batch axis included."""
        position = next(i for i, output in enumerate(self.outputs) if output["index"] == detail["index"])
        return self._running().outputs[position].copy()

    def _running(self) -> "_Child":
        if self._child is None:
            self._start()
        assert self._child is not None
        return self._child

    def _start(self) -> None:
        try:
            child = _Child(self._data, self._threads, edgetpu=self._edgetpu)
        except _Died as death:
            raise InputError(str(death)) from death
        self._child, self.inputs, self.outputs = child, child.input_details, child.output_details


class _Died(Exception):
    """The child is gone; the text says why."""

    def __init__(self, text: str, *, hung: bool = False) -> None:
        super().__init__(text)
        self.hung = hung


class _Child:
    """One process from its start to its end."""

    def __init__(self, data: bytes, threads: int, *, edgetpu: bool) -> None:
        self._memory_bytes = _MEMORY_BYTES + 4 * len(data) + threads * _STACK_BYTES
        self._edgetpu = edgetpu
        mine, theirs = socket.socketpair()
        model = os.memfd_create("edgeguard-model", os.MFD_CLOEXEC)
        shared = os.memfd_create("edgeguard-frame", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with theirs, os.fdopen(os.dup(model), "wb") as stream:
                stream.write(data)
                stream.flush()
                words = [theirs.fileno(), model, shared, threads, self._memory_bytes, "edgetpu" if edgetpu else "cpu"]
                self._process = _spawn([str(word) for word in words], (theirs.fileno(), model, shared))
            self.end = weakref.finalize(self, _end, self._process, mine, os.getpid())
            self._line = mine
            try:
                self._load(shared)
            except BaseException:
                self.end()
                raise
        finally:
            os.close(model)
            os.close(shared)

    def _load(self, shared: int) -> None:
        if "error" in (fields := self._answer(_LIBRARIES_S)):
            raise DeviceError(str(fields["error"]))
        if "error" in (fields := self._answer(LOAD_S)):
            raise InputError(f"the runtime refuses the model: {fields['error']}")
        with parsing("what the graph's process says"):
            self.input_details = [_checked(detail) for detail in fields["inputs"]]
            self.output_details = [_checked(detail) for detail in fields["outputs"]]
        starts, size = [], 0
        for detail in (*self.input_details, *self.output_details):
            starts.append(size)
            size += -(-_size(detail) // 64) * 64
        if size > _MOST_TENSOR_BYTES:
            raise InputError(f"the model's inputs and outputs have {size >> 20} MiB, which no image has")
        self._share(shared, starts, max(size, 64))

    def _share(self, shared: int, starts: list[int], size: int) -> None:
        """Memory for the tensors, of a size that the child cannot change."""
        import fcntl

        os.ftruncate(shared, size)
        fcntl.fcntl(shared, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        memory = mmap.mmap(shared, size)
        details = [*self.input_details, *self.output_details]
        views = [
            np.ndarray(tuple(d["shape"]), d["dtype"], memory, start) for d, start in zip(details, starts, strict=True)
        ]
        count = len(self.input_details)
        self.inputs, self.outputs = views[:count], views[count:]
        places = [(start, list(view.shape)) for start, view in zip(starts, views, strict=True)]
        text = json.dumps({"size": size, "inputs": places[:count], "outputs": places[count:]}).encode()
        self._send(struct.pack("<I", len(text)) + text)

    def compute(self) -> None:
        """One frame.

        Raises:
            _Died: the process is gone.
            GraphFailure: the runtime says that the graph failed.
        """
        self._line.settimeout(FRAME_S)
        self._send(b"r")
        answer = self._receive(1, "a frame", FRAME_S)
        if answer != b"k":
            raise GraphFailure(
                f"the graph failed on this frame: {self._answer(FRAME_S).get('error', 'it says nothing')}"
            )

    def _answer(self, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        self._line.settimeout(seconds)
        (length,) = struct.unpack("<I", self._receive(4, "the model", seconds))
        text = b""
        with parsing("what the graph's process says"):
            if length > _MOST_MESSAGE_BYTES:
                raise ValueError("it is too long")
            while len(text) < length:
                self._line.settimeout(max(end - time.monotonic(), 0.01))
                text += self._receive(length - len(text), "the model", seconds)
            fields = json.loads(text)
            if not isinstance(fields, dict):
                raise TypeError("it is no table")
        if "error" in fields:
            fields["error"] = "".join(c if c.isprintable() else " " for c in str(fields["error"])[:400])
        return fields

    def _receive(self, most: int, what: str, seconds: float) -> bytes:
        try:
            found = self._line.recv(most, socket.MSG_WAITALL if most == 4 else 0)
        except TimeoutError:
            self.end()
            raise _Died(f"the runtime does not finish with {what} within {seconds:g} s", hung=True) from None
        except OSError:
            found = b""
        if not found or (most == 4 and len(found) < 4):
            self._raise_death()
        return found

    def _send(self, data: bytes) -> None:
        try:
            self._line.sendall(data)
        except OSError:
            self._raise_death()

    def _raise_death(self) -> NoReturn:
        """Say how the process ended; it closed its line."""
        try:
            code = self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        self.end()
        name = signal.Signals(-code).name if code < 0 else f"exit {code}"
        guess = "libedgetpu does not fit the runtime, or " if self._edgetpu else ""
        limit = f"it may use {self._memory_bytes >> 20} MiB"
        raise _Died(f"the runtime crashes on the model ({name}): {guess}the file is damaged or hostile; {limit}")


def _spawn(words: list[str], descriptors: tuple[int, ...]) -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("watched_child.py")
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.Popen(
            [sys.executable, "-P", str(script), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=descriptors,
            env=environment,
            start_new_session=True,  # Ctrl-C comes to the parent alone
        )
    except OSError as error:
        raise DeviceError(f"no process can be started for the model: {error.strerror}") from error


def _end(process: subprocess.Popen[bytes], line: socket.socket, owner: int) -> None:
    if os.getpid() != owner:  # a fork's copy of the object
        return
    line.close()
    process.kill()
    process.wait()


def _size(detail: dict[str, Any]) -> int:
    size = np.dtype(detail["dtype"]).itemsize
    for side in detail["shape"]:
        size *= int(side)
    return size


def _checked(detail: Any) -> dict[str, Any]:
    """A tensor's detail as the runtime gives it, from what the child said."""
    name, shape = str(detail["name"]), [int(side) for side in detail["shape"]]
    scale, zero_point = detail["quantization"]
    if detail["dtype"] not in _TYPES or any(side < 0 for side in shape) or len(shape) > 8:
        raise ValueError(f"a tensor of type {detail['dtype']} and shape {shape}")
    return {
        "name": name,
        "index": int(detail["index"]),
        "shape": np.array(shape, np.int32),
        "dtype": np.dtype(detail["dtype"]).type,
        "quantization": (float(scale), int(zero_point)),
    }
