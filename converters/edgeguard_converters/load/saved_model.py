"""A SavedModel, written anew with the functions that its serving signature needs.

A SavedModel is a program of TensorFlow, whose operators read, write and print into files and call Python back. Its
functions that save and load checkpoints do too, and stand in every one: they are left behind. Every operator of every
function that is kept is compared with the list of what is allowed.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError
from edgeguard_converters.load.archive import read_file
from edgeguard_converters.load.refused import PickleRefused

_OPERATORS_LISTED = """
     Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh Atan Atan2 Atanh AvgPool BatchMatMul
BatchMatMulV2     BatchMatMulV3 BatchToSpaceND BiasAdd BroadcastArgs BroadcastTo Cast Ceil ClipByValue Concat
ConcatV2 Const Conv2D     Conv2DBackpropInput Cos Cosh Cumsum DepthToSpace DepthwiseConv2dNative DisableCopyOnRead
Div DivNoNan Einsum Elu EnsureShape     Equal Erf Erfc Exp ExpandDims Expm1 Fill Floor FloorDiv FloorMod
FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather     GatherNd GatherV2 Greater GreaterEqual Identity
IdentityN IsFinite IsInf IsNan L2Loss LRN LeakyRelu Less LessEqual Log     Log1p LogSoftmax LogicalAnd LogicalNot
LogicalOr MatMul Max MaxPool MaxPoolV2 Maximum Mean Min Minimum MirrorPad Mul     MulNoNan Neg NoOp NotEqual OneHot
OnesLike Pack Pad PadV2 PartitionedCall Placeholder Pow PreventGradient Prod Range     Rank ReadVariableOp RealDiv
Reciprocal Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor ResizeBicubic     ResourceGather ReverseV2 Rint
Roll Round Rsqrt ScatterNd Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Sinh Size     Slice Softmax Softplus
Softsign SpaceToBatchND SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze     StatefulPartitionedCall
StopGradient StridedSlice Sub Sum Tan Tanh TensorScatterUpdate Tile TopKV2 Transpose Truncate     Unpack Where Xdivy
Xlogy ZerosLike _EagerConst
"""
_OPERATORS = frozenset(_OPERATORS_LISTED.split())
_OBJECTS = frozenset({"user_object", "function", "variable", "bare_concrete_function", "constant", "captured_tensor"})
_CLASSES = re.compile(
    r"_generic_user_object|signature_map|trackable_(list|dict|tuple)_wrapper|tf_?module|_tf_keras_\w{1,40}|optimizer"
)
_LAYERS = "_tf_keras_"
_DEVICE = re.compile(r"(/device:)?(CPU:\d+)?", re.IGNORECASE)
_VARIABLES = re.compile(r"variables\.(index|data-\d{5}-of-\d{5})")
_HOW_TO_RUN = frozenset({"config", "config_proto", "executor_type"})
_OF_SHAPES = frozenset({"_input_shapes", "_output_shapes"})
_MOST_FUNCTIONS, _MOST_OBJECTS = 10_000, 50_000
_MOST_REPEATED = 1 << 24  # values of constants that say one number for all
#: Operators when the functions that a function calls are put in its place, as TensorFlow does it.
_MOST_OPERATORS = 1_000_000
_MOST_BYTES = 1 << 31


def checked_copy(folder: Path, scratch: Path) -> Path:
    """A SavedModel in `scratch`, made of the parts of a stranger's that are allowed.

    Raises:
        PickleRefused: it holds an operator or an object that is not on the lists.
        InputError: it is damaged, or was not made by TensorFlow 2.
    """
    assets, variables = _plain(folder / "assets"), _plain(folder / "variables")
    graph = _fresh_graph(read_file(_plain(folder / "saved_model.pb"), most_bytes=_MOST_BYTES))
    fresh = scratch / "model"
    (fresh / "variables").mkdir(parents=True)
    (fresh / "saved_model.pb").write_bytes(graph)
    if assets.is_dir() and any(assets.iterdir()):
        raise PickleRefused("the SavedModel brings files of its own (assets), which a vision model has not; refused")
    if variables.is_dir():
        for path in sorted(variables.iterdir()):
            if not _VARIABLES.fullmatch(path.name):
                raise PickleRefused(f"the SavedModel's variables hold {path.name[:80]!r}; refused")
            (fresh / "variables" / path.name).write_bytes(read_file(_plain(path)))
    return fresh


def _plain(path: Path) -> Path:
    if path.is_symlink():
        raise InputError(f"{path.name} in the SavedModel is a link; refused")
    return path


def _fresh_graph(data: bytes) -> bytes:
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        model = saved_model_pb2.SavedModel.FromString(data)
    except Exception as error:
        raise InputError(f"the SavedModel's saved_model.pb cannot be read: {str(error)[:200]}") from error
    if len(model.meta_graphs) != 1 or not model.meta_graphs[0].object_graph_def.nodes:
        raise InputError("the SavedModel has no objects: save it with TensorFlow 2 (tf.saved_model.save)")
    meta = model.meta_graphs[0]
    _check_objects(meta.object_graph_def)
    for field in ("asset_file_def", "collection_def", "saver_def", "signature_def"):
        meta.ClearField(field)
    library = meta.graph_def.library
    kept = _reached(library, meta.object_graph_def)
    library.ClearField("gradient")
    library.ClearField("registered_gradients")
    functions = [function for function in library.function if function.signature.name in kept]
    _check_calls({function.signature.name: function for function in functions})
    repeated = sum(map(_check_function, functions))
    if repeated > _MOST_REPEATED:
        raise PickleRefused(f"the SavedModel holds constants of {repeated} values that are not in it; refused")
    library.ClearField("function")
    library.function.extend(functions)
    meta.graph_def.ClearField("node")  # of a session: it would read and write checkpoints
    fresh: bytes = model.SerializeToString()
    return fresh


def _check_objects(graph: Any) -> None:
    if len(graph.nodes) > _MOST_OBJECTS:
        raise PickleRefused(f"the SavedModel holds more than {_MOST_OBJECTS} objects; refused")
    for node in graph.nodes:
        kind = node.WhichOneof("kind")
        if kind not in _OBJECTS or node.registered_saver:
            raise PickleRefused(f"the SavedModel holds an object of the kind {kind!r}, which is not allowed; refused")
        node.ClearField("saveable_objects")
        node.ClearField("registered_name")
        for child in node.children:  # TensorFlow sets them as attributes of Python's
            if child.local_name.startswith("__") and child.local_name != "__call__":
                raise PickleRefused(f"the SavedModel holds an object of the name {child.local_name[:60]!r}; refused")
        if kind == "variable":
            node.variable.ClearField("device")
        if kind != "user_object":
            continue
        name = node.user_object.identifier
        if not _CLASSES.fullmatch(name):
            raise PickleRefused(f"the SavedModel holds an object of the class {name[:60]!r}; refused")
        node.user_object.ClearField("metadata")
        if name.startswith(_LAYERS):
            node.user_object.identifier = "_generic_user_object"  # its functions are all that is needed


def _reached(library: Any, objects: Any) -> set[str]:
    """Names of the functions that the objects' functions call, and of those."""
    known = {function.signature.name: function for function in library.function}
    if len(known) > _MOST_FUNCTIONS or len(known) != len(library.function):
        raise InputError("the SavedModel has too many functions, or two of one name; refused")
    waiting = [name for name in objects.concrete_functions if name in known]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(found for found in _called(known[name]) if found in known)
    return reached


def _called(function: Any) -> Iterator[str]:
    """Names of the functions that a function calls, each as often as it does."""
    for node in function.node_def:
        for value in node.attr.values():
            yield value.func.name
            yield from (found.name for found in value.list.func)


def _check_calls(functions: dict[str, Any]) -> None:
    """Refuse functions that call each other too often: forty that call the next one twice are a graph of 2^40."""
    calls = {name: Counter(called for called in _called(found) if called in functions)
             for name, found in functions.items()}  # fmt: skip
    operators: dict[str, int] = {}
    try:
        for name in TopologicalSorter(calls).static_order():
            within = sum(count * operators[called] for called, count in calls[name].items())
            operators[name] = len(functions[name].node_def) + within
            if operators[name] > _MOST_OPERATORS:
                raise PickleRefused(
                    f"the SavedModel's functions call each other too often ({name[:60]!r} would have "
                    f"{operators[name]:.0e} operators); refused, it was not run"
                )
    except CycleError as error:
        raise PickleRefused("a function of the SavedModel calls itself; refused, it was not run") from error


def _check_function(function: Any) -> int:
    """Compare a function with the lists; returns how many values its constants claim beside those that are in it."""
    repeated = 0
    _keep_plain(function.attr)
    for node in function.node_def:
        if node.op not in _OPERATORS:
            raise PickleRefused(
                f"the SavedModel holds the operator {node.op[:60]!r}, which is not on the list; refused, it was not run"
            )
        if not _DEVICE.fullmatch(node.device):
            raise PickleRefused(f"the SavedModel wants the device {node.device[:60]!r}; refused")
        _keep_plain(node.attr)
        repeated += sum(map(_check_value, node.attr.values()))
    function.ClearField("resource_arg_unique_id")
    return repeated


def _keep_plain(attributes: Any) -> None:
    """Drop what tells TensorFlow how to run something: its compilers, optimizers, threads and executors."""
    for name in [n for n in attributes if n in _HOW_TO_RUN or (n.startswith("_") and n not in _OF_SHAPES)]:
        del attributes[name]


def _check_value(value: Any) -> int:
    """Refuse an attribute that stands for something else; returns as `_check_function`."""
    called = [value.func] if value.WhichOneof("value") == "func" else value.list.func
    if value.WhichOneof("value") == "placeholder" or any(found.attr for found in called):
        raise PickleRefused("the SavedModel has functions with parameters, whose calls cannot be counted; refused")
    repeated = 0
    for tensor in [value.tensor] if value.WhichOneof("value") == "tensor" else value.list.tensor:
        sides = [dimension.size for dimension in tensor.tensor_shape.dim]
        if min(sides, default=0) < 0:
            raise PickleRefused("the SavedModel holds a constant with a negative side; refused")
        repeated += max(math.prod(sides) - tensor.ByteSize(), 0)
    return repeated
