"""Loading a .tflite and running it: LiteRT first, tflite-runtime where only that is present."""

import copy
import hashlib
import os
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import DeviceError, InputError
from edgeguard.guard.sanitizer import Sanitizer
from edgeguard.model.contract import Contract, Detection, InputSpec, Preprocess, check_coefficient_input, read_contract
from edgeguard.model.detection import box_and_score_outputs, detect
from edgeguard.model.flatbuffer import LARGEST_FILE, ModelFile
from edgeguard.model.input_path import InputPath
from edgeguard.model.isolation import Isolate, open_graph
from edgeguard.model.labels import read_labels
from edgeguard.model.prediction import Prediction, rank, softmax
from edgeguard.model.watched import GraphFailure, Runner
from edgeguard.patchguard import PatchGuard
from edgeguard.preprocess.dct_input import FREQUENCIES
from edgeguard.preprocess.geometry import place
from edgeguard.system.foreign import parsing, read_bounded

_COLORS = 3
Delegate = Literal["auto", "cpu", "edgetpu"]


class Model:
    """A classifier or detector in memory with its contract.

    Attributes:
        contract: the one inside the file, or a derived one (`has_contract` is False then).
        sha256: of the file's bytes, the very bytes that run.
        integer_only: True when input and output are 8-bit.
        input_path: from received frames to its tensor, as the contract says.
        sanitizer: the contract's, or None.
        isolated: why the graph runs in a watched process of its own; None where it runs in this one.

    Example:
        >>> from edgeguard.model import load_model
        >>> model = load_model("model.tflite")            # doctest: +SKIP
        >>> model(np.zeros((480, 640, 3), np.uint8)).label  # doctest: +SKIP
        'stop'
    """

    def __init__(
        self, data: bytes, runner: Runner, contract: Contract | None, threads: int, isolated: str | None = None
    ) -> None:
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.threads, self.isolated = threads, isolated
        self.has_contract = contract is not None
        self._runner = runner
        self._input, self._outputs = _image_input(runner), runner.outputs
        self._take(contract if contract is not None else self._derive_contract(ModelFile(data)))

    def with_contract(self, contract: Contract) -> "Model":
        """The same model under another contract (another guard, other labels): a copy that shares the loaded graph.

        Raises:
            InputError: the graph does not take what it says, or it changes the profile whose indices the model reads.
        """
        check_coefficient_input(contract)
        if self.contract.input.color == "DCT" and contract.guard != self.contract.guard:
            raise InputError("a coefficient model reads its own guard's indices: no other guard can take its place")
        other = copy.copy(self)
        other._take(contract)
        return other

    def _take(self, contract: Contract) -> None:
        _check_input(self._input, contract)
        _check_outputs(self._outputs, contract)
        self.contract, self.input_path = contract, InputPath(contract)
        self.sanitizer = None if contract.guard.profile is None else Sanitizer(contract.guard.profile)

    @property
    def patch_guard(self) -> PatchGuard | None:
        """The contract's patch guard, which `input_path` applies; None without one."""
        return self.input_path.patch_guard

    @property
    def integer_only(self) -> bool:
        """True when input and output are 8-bit integers."""
        return all(np.dtype(d["dtype"]).itemsize == 1 for d in (self._input, *self._outputs))

    @property
    def classes(self) -> int:
        """How many classes there are, a background class included; 0 where the graph does not say."""
        if self.contract.task == "classify":
            return int(np.prod(self._outputs[0]["shape"]))
        shapes = [tuple(int(side) for side in detail["shape"][1:]) for detail in self._outputs]
        found = box_and_score_outputs(shapes)
        if found is None:
            return 0
        count = max(shapes[found[0]])
        return next((side for side in shapes[found[1]] if side != count), count)

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of each output, the batch axis first."""
        return tuple(tuple(int(side) for side in detail["shape"]) for detail in self._outputs)

    def __call__(self, rgb: NDArray[np.uint8]) -> Prediction:
        """Classify a frame, or detect on it: sanitise, crop, resize, quantise as the contract says, then run."""
        tensor = self.input_path(self.input_path.arrive(rgb)).tensor
        return self.read(self.run(tensor), rgb.shape[1], rgb.shape[0])

    def run(self, tensor: NDArray[np.generic]) -> tuple[NDArray[np.float32], ...]:
        """Run the graph on a tensor (1, *contract.input.shape); its dequantised outputs without the batch axis.

        Raises:
            InputError: the graph fails on it; a `GraphFailure` where it may work on another tensor.
        """
        try:
            return self._runner.run(tensor)
        except RuntimeError as error:
            raise GraphFailure(f"the graph failed on this frame: {' '.join(str(error).split())}") from error

    def infer(self, tensor: NDArray[np.generic]) -> NDArray[np.float32]:
        """`run` for a classifier: float32 of shape (classes,)."""
        return self.run(tensor)[0].ravel()

    def read(self, outputs: tuple[NDArray[np.float32], ...], width: int, height: int, count: int = 5) -> Prediction:
        """What the outputs say of a frame of this size: the `count` best classes, or boxes in its pixels.

        Raises:
            GraphFailure: they are no scores or boxes.
        """
        if self.contract.task == "classify":
            return self.rank(outputs[0].ravel(), count)
        placement = place(width, height, self.contract.input, self.contract.preprocess)
        try:
            with parsing("what the model says of this frame"):
                return detect(outputs, self.contract, placement)
        except InputError as error:
            raise GraphFailure(str(error)) from error

    def rank(self, outputs: NDArray[np.float32], count: int = 5) -> Prediction:
        """Outputs to scores 0..1, best first."""
        scores = softmax(outputs) if self.contract.outputs == "logits" else outputs
        return rank(scores, self.contract.labels, count)

    def _derive_contract(self, model_file: ModelFile) -> Contract:
        """For models of other makers: quantised ones get levels as they are, float ones are assumed to want [-1, 1]."""
        _, height, width, channels = (int(side) for side in self._input["shape"])
        if channels != _COLORS:
            raise InputError(f"the model's input has {channels} channels and no contract says what they are")
        dtype = np.dtype(self._input["dtype"]).name
        labels = read_labels(model_file)
        detector = len(self._outputs) == 4  # TFLite_Detection_PostProcess
        return Contract(
            task="detect" if detector else "classify",
            detection=Detection(head="postprocess") if detector else None,
            input=InputSpec(width, height, dtype),
            preprocess=Preprocess(mean=(127.5,) * 3, std=(127.5,) * 3, guessed=True),
            labels=labels,
            background=len(labels) > 0 and labels[0].lower() == "background",
            outputs="probabilities" if model_file.ends_in_probabilities() else "logits",
        )


def load_model(
    path: str | os.PathLike[str],
    delegate: Delegate = "auto",
    threads: int | None = None,
    *,
    require_sha256: str | None = None,
    isolate: Isolate = "auto",
) -> Model:
    """Load a .tflite image classifier.

    Args:
        path: the file.
        delegate: `cpu`, `edgetpu`, or `auto`: the Edge TPU for files compiled for it, else the CPU.
        threads: CPU threads, by default one for each core.
        require_sha256: refuse the file unless its bytes have this hash; checked before anything parses them.
        isolate: which graphs run in a watched process of their own; see `isolation.open_graph`.

    Raises:
        InputError: the file is missing, empty, truncated, not a .tflite, or not an image classifier.
        DeviceError: the Edge TPU is wanted and cannot be used.
    """
    data = read_bounded(path, LARGEST_FILE, "the model")
    if require_sha256 is not None and hashlib.sha256(data).hexdigest() != require_sha256.lower():
        raise InputError(f"{path} is not the required model: its SHA-256 is {hashlib.sha256(data).hexdigest()}")
    threads = threads or os.cpu_count() or 1
    try:
        model_file = ModelFile(data)
        contract = read_contract(model_file)
        wants_tpu = delegate == "edgetpu" or (delegate == "auto" and model_file.is_edgetpu)
        runner, isolated = open_graph(model_file, threads=threads, edgetpu=wants_tpu, isolate=isolate)
        with parsing("the model"):
            return Model(data, runner, contract, threads, isolated)
    except (InputError, DeviceError) as error:
        raise type(error)(f"{path}: {error}") from error


def _image_input(runner: Runner) -> dict[str, Any]:
    details = runner.inputs
    if len(details) != 1:
        raise InputError(f"the model has {len(details)} inputs; an image model has one")
    detail: dict[str, Any] = details[0]
    shape = tuple(int(side) for side in detail["shape"])
    if len(shape) != 4 or shape[0] != 1 or shape[3] not in (3, FREQUENCIES) or min(shape) < 1:
        raise InputError(f"the model's input is not an image: shape {shape}, wanted (1, height, width, 3)")
    if np.dtype(detail["dtype"]).name not in ("uint8", "int8", "float32"):
        raise InputError(f"the model's input type {np.dtype(detail['dtype']).name} is not uint8, int8 or float32")
    return detail


def _check_outputs(details: list[dict[str, Any]], contract: Contract) -> None:
    detection = contract.detection
    wanted = 1 if detection is None else 4 if detection.head == "postprocess" else 2
    if len(details) != wanted:
        kind = "a classifier" if detection is None else f"a detector with a {detection.head} head"
        raise InputError(f"the model has {len(details)} outputs; {kind} has {wanted}")
    for detail in details:
        shape = tuple(int(side) for side in detail["shape"])
        if not shape or min(shape) < 1:
            raise InputError(f"the model has an output of shape {shape}, which holds no answer")


def _check_input(detail: dict[str, Any], contract: Contract) -> None:
    spec = contract.input
    wanted = (1, *spec.shape)
    actual = tuple(int(side) for side in detail["shape"])
    dtype = np.dtype(detail["dtype"]).name
    check_coefficient_input(contract)
    if wanted != actual or spec.dtype != dtype:
        raise InputError(f"the contract says {spec.dtype} {wanted}, the graph takes {dtype} {actual}")
