"""A .tflite as one object: what stands in it, its answers, and the edits that mend traps of the tools."""

import io
import os
import tempfile
import zipfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from edgeguard.model.runtime import GraphRunner
from edgeguard_converters.graph.edit import builtin, kind, text
from edgeguard_converters.graph.run import Activation, Feed, Outputs, RawOutputs, activations, run_graph
from edgeguard_converters.support.log import chatter_to

_OPS = schema.BuiltinOperator
#: The operator version from which an op takes int8 tensors (TensorFlow Lite's `op_version.cc`).
_INT8_VERSIONS = {
    _OPS.CONV_2D: 3, _OPS.DEPTHWISE_CONV_2D: 3, _OPS.FULLY_CONNECTED: 4, _OPS.TRANSPOSE_CONV: 2, _OPS.ADD: 2,
    _OPS.SUB: 3, _OPS.MUL: 2, _OPS.AVERAGE_POOL_2D: 2, _OPS.MAX_POOL_2D: 2, _OPS.CONCATENATION: 2, _OPS.LOGISTIC: 2,
    _OPS.TANH: 2, _OPS.SOFTMAX: 2, _OPS.MEAN: 2, _OPS.PAD: 2, _OPS.PADV2: 2, _OPS.RELU: 2, _OPS.RELU6: 2,
    _OPS.TRANSPOSE: 2, _OPS.SLICE: 2, _OPS.STRIDED_SLICE: 2, _OPS.SPLIT: 2, _OPS.RESIZE_BILINEAR: 2,
    _OPS.RESIZE_NEAREST_NEIGHBOR: 2, _OPS.SPACE_TO_DEPTH: 2, _OPS.DEPTH_TO_SPACE: 2, _OPS.LEAKY_RELU: 2,
    _OPS.MAXIMUM: 2, _OPS.MINIMUM: 2, _OPS.SUM: 2, _OPS.REDUCE_MAX: 2, _OPS.GATHER: 2, _OPS.QUANTIZE: 1,
    _OPS.DEQUANTIZE: 2,
}  # fmt: skip
_IO_TYPES = {"uint8": 3, "int8": 9}  # TfLiteType of the modify_model_interface call
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_TYPES = {value: name.lower() for name, value in vars(schema.TensorType).items() if name.isupper()}


@dataclass(frozen=True, eq=False)
class TfliteGraph:
    """A .tflite that is parsed once, when something of it is first wanted. An edit gives another graph.

    Attributes:
        data: the bytes of the file.

    Example:
        >>> graph = TfliteGraph(Path("model.tflite").read_bytes())  # doctest: +SKIP
        >>> graph.operators()                                       # doctest: +SKIP
        {'CONV_2D': 9, 'FULLY_CONNECTED': 1}
    """

    data: bytes

    @classmethod
    def of(cls, model: Any) -> "TfliteGraph":
        """The graph of an object form, all its buffers inline."""
        for buffer in model.buffers:
            buffer.offset, buffer.size = 0, 0
            if buffer.data is not None and not isinstance(buffer.data, np.ndarray):
                buffer.data = np.frombuffer(bytes(buffer.data), np.uint8)  # a list would be packed byte by byte
        return cls(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))

    @cached_property
    def model(self) -> Any:
        """The object form, to be read only; its buffers are views of the bytes, wherever in the file they lie."""
        return self.editable()

    def editable(self) -> Any:
        """A fresh object form that an edit may change before it goes back through `of`."""
        return flatbuffer_utils.read_model_from_bytearray(memoryview(self.data))

    # What stands in it

    @cached_property
    def parameters(self) -> int:
        """How many float32 constants it holds, shared ones once."""
        sizes = {}
        for graph in self.model.subgraphs:
            for tensor in graph.tensors:
                data = self.model.buffers[tensor.buffer].data
                if data is not None and tensor.type == schema.TensorType.FLOAT32:
                    sizes[tensor.buffer] = len(data) // 4
        return sum(sizes.values())

    def operators(self) -> dict[str, int]:
        """Histogram of operators by name."""
        counts: dict[str, int] = {}
        for graph in self.model.subgraphs:
            for operator in graph.operators:
                name = kind(self.model, operator)
                counts[name] = counts.get(name, 0) + 1
        return dict(sorted(counts.items()))

    def operator_outputs(self) -> list[tuple[str, str]]:
        """Kind and first output's name of each operator, in order."""
        return [(kind(self.model, op), self._name(op.outputs[0])) for op in self._main.operators]

    def hard_swishes(self) -> list[tuple[str, str]]:
        """Input's and output's name of each HARD_SWISH."""
        found = [op for op in self._main.operators if builtin(self.model, op) == _OPS.HARD_SWISH]
        return [(self._name(op.inputs[0]), self._name(op.outputs[0])) for op in found]

    def first_operators(self) -> set[str]:
        """Outputs of the operators that read the graph's input."""
        inputs = set(map(int, self._main.inputs))
        return {self._name(op.outputs[0]) for op in self._main.operators if inputs & set(map(int, op.inputs))}

    def float_operators(self) -> list[tuple[str, str]]:
        """Kind and first output's name of the operators that compute in float; conversions between types do not."""
        return [
            (name, self._name(op.outputs[0]))
            for op in self._main.operators
            if (name := kind(self.model, op)) != "DEQUANTIZE"
            and self._main.tensors[op.outputs[0]].type == schema.TensorType.FLOAT32
        ]

    def float_tensors(self) -> list[str]:
        """Names of float tensors that an operator touches; empty for an integer-only graph."""
        found = []
        for graph in self.model.subgraphs:
            used = {int(i) for op in graph.operators for i in (*op.inputs, *op.outputs) if i >= 0}
            for index in sorted(used):
                if graph.tensors[index].type in (schema.TensorType.FLOAT32, schema.TensorType.FLOAT16):
                    found.append(text(graph.tensors[index].name))
        return found

    def first_not_finite(self) -> str | None:
        """The name of the first constant float tensor that holds NaN or infinity."""
        for graph in self.model.subgraphs:
            for tensor in graph.tensors:
                values = self.model.buffers[tensor.buffer].data
                if values is None or tensor.type != schema.TensorType.FLOAT32:
                    continue
                if not np.isfinite(np.frombuffer(np.asarray(values, np.uint8).tobytes(), np.float32)).all():
                    return text(tensor.name)
        return None

    def borders(self) -> tuple[list[str], list[str]]:
        """Type and shape of each input and output, for people: `uint8 1x224x224x3`."""

        def shown(index: int) -> str:
            tensor = self._main.tensors[index]
            return f"{self._type(index)} {'x'.join(str(int(side)) for side in tensor.shape)}"

        return [shown(i) for i in self._main.inputs], [shown(i) for i in self._main.outputs]

    def border_types(self) -> tuple[set[str], set[str]]:
        """The types of the inputs and of the outputs: `uint8`, `int8`, `float32`."""
        return {self._type(i) for i in self._main.inputs}, {self._type(i) for i in self._main.outputs}

    def input_name(self) -> str:
        """The name of the first input's tensor."""
        return self._name(self._main.inputs[0])

    def signature(self) -> tuple[str, str]:
        """The first signature's name, and the name of its one argument."""
        first = self.model.signatureDefs[0]
        return text(first.signatureKey), text(first.inputs[0].name)

    def has_offset_buffers(self) -> bool:
        """True when a buffer is stored behind the flatbuffer, where old tools and compilers do not look."""
        packed = schema.Model.GetRootAs(self.data, 0)
        return any(packed.Buffers(i).Offset() > 1 for i in range(packed.BuffersLength()))

    # Its answers

    def runner(self, *, threads: int | None = None, every_tensor: bool = False) -> GraphRunner:
        """It in the runtime; one thread for each core by default, see `GraphRunner`.

        Raises:
            ValueError, RuntimeError: the runtime refuses it.
        """
        return GraphRunner(self.data, threads=threads or os.cpu_count() or 1, every_tensor=every_tensor)

    def run(self, tensors: Iterable[NDArray[Any]], threads: int | None = None) -> RawOutputs:
        """What it gives for tensors of its input's shape and type.

        Raises:
            ValueError, RuntimeError: the runtime refuses the graph or an input.
        """
        return run_graph(self.runner(threads=threads), tensors)

    def outputs(self, pixels: NDArray[np.uint8], feed: Feed) -> Outputs:
        """Its dequantized outputs for images (n, h, w, 3); `feed` turns one (1, h, w, 3) into its input."""
        return self.run(feed(image[None]) for image in pixels).dequantized()

    def activations(
        self, pixels: NDArray[np.uint8], feed: Feed, names: Collection[str]
    ) -> Iterator[Iterator[Activation]]:
        """The named tensors between its operators for each image, by built-in kernels; see `run.activations`."""
        runner = self.runner(threads=1, every_tensor=True)
        return activations(runner, (feed(image[None]) for image in pixels), names)

    # Edits

    def with_signature(self) -> "TfliteGraph":
        """With a signature of its inputs and outputs, which the quantizer needs; old files have none."""
        if self.model.signatureDefs:
            return self
        model = self.editable()
        graph, signature = model.subgraphs[0], schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
        signature.inputs = [_tensor_map(f"input_{i}", index) for i, index in enumerate(graph.inputs)]
        signature.outputs = [_tensor_map(f"output_{i}", index) for i, index in enumerate(graph.outputs)]
        model.signatureDefs = [signature]
        return TfliteGraph.of(model)

    def inlined(self) -> "TfliteGraph":
        """With all buffers inside the flatbuffer."""
        return TfliteGraph.of(self.editable())

    def with_int8_versions(self) -> "TfliteGraph":
        """With operator versions raised that the quantizer left at those of float operators; buffers go inline."""
        model = self.editable()
        for code in model.operatorCodes:
            code.version = max(code.version, _INT8_VERSIONS.get(code.builtinCode, 1))
        return TfliteGraph.of(model)

    def with_integer_borders(self, log: Path, dtype: Literal["uint8", "int8"] = "uint8") -> "TfliteGraph":
        """With 8-bit input and outputs: the QUANTIZE at the input and the DEQUANTIZE at the outputs go away.

        A border whose operator stayed float stays float.

        Raises:
            RuntimeError: the tool said yes and did nothing, or wrote a truncated file (both have been seen).
        """
        from ai_edge_litert import _pywrap_modify_model_interface as interface  # private: pinned and tested

        with tempfile.TemporaryDirectory(prefix="edgeguard-") as folder:
            source, target = Path(folder) / "in.tflite", Path(folder) / "out.tflite"
            source.write_bytes(self.data)
            with chatter_to(log):
                status = interface.modify_model_interface(str(source), str(target), _IO_TYPES[dtype], _IO_TYPES[dtype])
            if status != 0 or not target.is_file():
                raise RuntimeError(f"modify_model_interface failed with status {status} (log: {log})")
            changed = target.read_bytes()
        if len(changed) < 0.8 * len(self.data):
            raise RuntimeError("modify_model_interface wrote a truncated file")
        return TfliteGraph(changed)

    def with_contract(self, name: str, contract: bytes, labels: tuple[str, ...]) -> "TfliteGraph":
        """With the contract as a metadata entry, and labels.txt behind it as a zip.

        The last thing that happens to a file, since any later rewrite would drop the zip.
        """
        model = self.editable()
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(contract, np.uint8)
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, len(model.buffers)
        model.buffers.append(buffer)
        model.metadata = [m for m in model.metadata or [] if m.name not in (name, name.encode())] + [entry]
        done = TfliteGraph.of(model)
        return done._with_labels(labels) if labels else done

    def _with_labels(self, labels: tuple[str, ...]) -> "TfliteGraph":
        stream = io.BytesIO(self.data)
        with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
            info = zipfile.ZipInfo("labels.txt", _ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, "".join(f"{label}\n" for label in labels))
        return TfliteGraph(stream.getvalue())

    @property
    def _main(self) -> Any:
        return self.model.subgraphs[0]

    def _name(self, tensor: int) -> str:
        return text(self._main.tensors[tensor].name)

    def _type(self, tensor: int) -> str:
        return _TYPES.get(self._main.tensors[tensor].type, "?")


def _tensor_map(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), int(index)
    return entry
