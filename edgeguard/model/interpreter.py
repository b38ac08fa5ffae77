"""Loading a .tflite and running it: LiteRT first, tflite-runtime where only that is present."""

import copy
import hashlib
import os
import re
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import DeviceError, InputError
from edgeguard.guard.sanitizer import Sanitizer
from edgeguard.model.contract import Contract, Kind, check_coefficient_input, read_contract, require_kind
from edgeguard.model.derive import Hints, derive_contract, output_steps, shaped
from edgeguard.model.detection import box_and_score_outputs, detect
from edgeguard.model.flatbuffer import LARGEST_FILE, ModelFile
from edgeguard.model.input_path import InputPath
from edgeguard.model.isolation import Isolate, open_graph
from edgeguard.model.keypoints import find_keypoints
from edgeguard.model.patch_votes import PatchVotes
from edgeguard.model.prediction import Prediction, rank, softmax, two_classes
from edgeguard.model.runtime import GraphRunner, load_runner
from edgeguard.model.segmentation import segment
from edgeguard.model.turns import TurnRunner, Turns
from edgeguard.model.watched import GraphFailure, Runner
from edgeguard.model.yolo import BOX_NUMBERS, columns_axis
from edgeguard.patchguard import PatchGuard
from edgeguard.preprocess.dct_input import FREQUENCIES
from edgeguard.preprocess.geometry import place
from edgeguard.system.foreign import parsing, read_bounded

_NO_HINTS = Hints()
#: Bytes of all tensors of a graph, weights among them, of which `Model.beside` makes a copy.
LARGEST_BESIDE = 256 << 20
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_SLACK = 0.02  # of a score, after 8 bits
Delegate = Literal["auto", "cpu", "edgetpu"]


class NoAnswer(GraphFailure):
    """The graph ran, and what it says of a frame is no result of its task: its outputs are misread, or it is broken."""


class Model:
    """A model of one of the contract's tasks in memory, with its contract.

    Attributes:
        contract: the one inside the file, or a derived one (`has_contract` is False then).
        sha256: of the file's bytes, the very bytes that run.
        integer_only: True when input and output are 8-bit.
        input_path: from received frames to its tensor, as the contract says.
        sanitizer: the contract's, or None.
        guesses: what was guessed of a file without a contract, a line each.
        isolated: why the graph runs in a watched process of its own; None where it runs in this one.

    Example:
        >>> from edgeguard.model import load_model
        >>> model = load_model("model.tflite")            # doctest: +SKIP
        >>> model(np.zeros((480, 640, 3), np.uint8)).label  # doctest: +SKIP
        'stop'
    """

    def __init__(
        self,
        data: bytes,
        runner: Runner,
        contract: Contract | None,
        threads: int,
        isolated: str | None = None,
        *,
        hints: Hints = _NO_HINTS,
    ) -> None:
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.threads, self.isolated = threads, isolated
        self.has_contract = contract is not None
        self.guesses: tuple[str, ...] = ()
        self._runner, self._data = runner, data if isinstance(runner, GraphRunner) else None
        self._input, self._outputs = _one_input(runner, contract), runner.outputs
        self._steps = output_steps(self._outputs)
        _check_answers(self._outputs)
        claims = contract is not None and contract.patch_certificate is not None
        self._votes = PatchVotes(data, contract, self._outputs) if contract is not None and claims else None
        if contract is None:
            contract, self.guesses = derive_contract(ModelFile(data), runner, hints)
        self._take(contract)

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
        if contract.patch_certificate is not None and self._votes is None:
            raise InputError("this file's own contract claims no patch certificate: another one cannot")
        self.contract, self.input_path = contract, InputPath(contract)
        self.sanitizer = None if contract.guard.profile is None else Sanitizer(contract.guard.profile)

    def in_turns(self, turns: Turns) -> "Model":
        """The same model for one of several threads, each with one of these: they take turns, first come first."""
        other = copy.copy(self)
        other._runner = TurnRunner(self._runner, turns)
        return other

    def beside(self, threads: int) -> "Model | None":
        """The same model with an interpreter of its own, for a second thread that computes at the same time.

        None where the graph cannot be there twice: in a watched process, on an Edge TPU, in turns; and where it is too
        large for that (`LARGEST_BESIDE`).

        Args:
            threads: of the copy's CPU kernels, at least 1.
        """
        if self._data is None or not isinstance(self._runner, GraphRunner) or self._runner.has_delegates:
            return None
        if self._runner.tensor_bytes > LARGEST_BESIDE:
            return None
        other = copy.copy(self)
        other.threads, other._runner = threads, load_runner(self._data, threads=threads)
        return other

    @property
    def waited_s(self) -> float:
        """How long the last frame waited for the turns of others."""
        return self._runner.waited_s if isinstance(self._runner, TurnRunner) else 0.0

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
        """How many classes there are, background included (of a pose, keypoints); 0 where the graph is silent."""
        contract = self.contract
        shapes = [tuple(int(side) for side in detail["shape"][1:]) for detail in self._outputs]
        if contract.task == "classify":
            return max(int(np.prod(shapes[0])), 2)
        if contract.segmentation is not None:
            axis = {"HWC": 2, "CHW": 0, "HW": None}[contract.segmentation.layout]
            return 0 if axis is None else max(shapes[0][axis], 2)
        if contract.keypoints is not None:
            return shapes[0][2] if contract.keypoints.head == "heatmaps" else int(np.prod(shapes[0])) // 3
        if (detection := contract.detection) is not None and detection.head == "joined":
            axis = columns_axis(shapes[0], contract.input.width, contract.input.height)
            return 0 if axis is None else shapes[0][axis] - BOX_NUMBERS - int(detection.objectness)
        found = box_and_score_outputs(shapes)
        if found is None:
            return 0
        count = max(shapes[found[0]])
        columns = next((side for side in shapes[found[1]] if side != count), count)
        return columns - int(detection is not None and detection.objectness)

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
            return self._runner.run(shaped(tensor, self._input))
        except RuntimeError as error:
            raise GraphFailure(f"the graph failed on this frame: {' '.join(str(error).split())}") from error

    def run_raw(self, tensor: NDArray[np.generic]) -> tuple[NDArray[Any], ...]:
        """As `run`, but the outputs as the graph stores them."""
        try:
            return self._runner.run_raw(shaped(tensor, self._input))
        except RuntimeError as error:
            raise GraphFailure(f"the graph failed on this frame: {' '.join(str(error).split())}") from error

    def infer(self, tensor: NDArray[np.generic]) -> NDArray[np.float32]:
        """`run` for a classifier: float32 of shape (classes,); the one output of two classes becomes two.

        Of a model with a patch certificate the mean votes, which the label and its proof go by.
        """
        outputs = self.run(tensor)
        if self._votes is not None and self.contract.patch_certificate is not None:
            return self._votes.scores(self._votes.integers(outputs))
        return two_classes(outputs[0].ravel(), logits=self.contract.outputs == "logits")

    @property
    def votes(self) -> PatchVotes | None:
        """What proves labels against a patch; None for a model without such a proof."""
        return None if self.contract.patch_certificate is None else self._votes

    def read(self, outputs: tuple[NDArray[np.float32], ...], width: int, height: int, count: int = 5) -> Prediction:
        """What the outputs say of a frame of this size: the `count` best classes, or boxes in its pixels.

        Raises:
            NoAnswer: they are no result of the contract's task.
        """
        contract = self.contract
        try:
            with parsing("what the model says of this frame"):
                if self.votes is not None:
                    return self.votes.predict(outputs, contract, width, height, count)
                if contract.task == "classify":
                    return self.rank(outputs[0].ravel(), count)
                placement = place(width, height, contract.input, contract.preprocess)
                if contract.task == "segment":
                    return segment(outputs[0], contract, placement)
                if contract.task == "keypoints":
                    return find_keypoints(outputs, contract, placement)
                return detect(outputs, contract, placement, self._steps)
        except InputError as error:
            raise NoAnswer(str(error)) from error

    def rank(self, outputs: NDArray[np.float32], count: int = 5) -> Prediction:
        """Outputs to scores 0..1, best first.

        Raises:
            InputError: they are no scores: not finite, or probabilities outside 0..1.
        """
        logits = self.contract.outputs == "logits"
        scores = two_classes(outputs, logits=logits)
        if not np.isfinite(scores).all():
            raise InputError("not all scores are finite numbers")
        if not logits and (scores.min() < -_SLACK or scores.max() > 1 + _SLACK):
            raise InputError(f"a score is {scores[np.abs(scores - 0.5).argmax()]:g}, which is not in 0..1")
        return rank(softmax(scores) if logits else scores, self.contract.labels, count)


def load_model(
    path: str | os.PathLike[str],
    delegate: Delegate = "auto",
    threads: int | None = None,
    *,
    require_sha256: str | None = None,
    isolate: Isolate = "auto",
    hints: Hints = _NO_HINTS,
    kinds: tuple[Kind, ...] = ("image",),
) -> Model:
    """Load a .tflite: a classifier, a detector, a segmentation or a pose model.

    Args:
        path: the file.
        delegate: `cpu`, `edgetpu`, or `auto`: the Edge TPU for files compiled for it, else the CPU.
        threads: CPU threads, by default one for each core.
        require_sha256: refuse the file unless its bytes have this hash; checked before anything parses them.
        isolate: which graphs run in a watched process of their own; see `isolation.open_graph`.
        hints: what is known of a file that carries no contract.
        kinds: of input that the caller has: a model of another one is refused.

    Raises:
        InputError: the file is missing, empty, truncated, not a .tflite, or no task that runs here.
        DeviceError: the Edge TPU is wanted and cannot be used.
    """
    data = read_bounded(path, LARGEST_FILE, "the model")
    if require_sha256 is not None and not _SHA256.fullmatch(require_sha256):
        raise InputError(
            f"{require_sha256!r} is no SHA-256: 64 hexadecimal digits, as edgeguard model show prints them"
        )
    if require_sha256 is not None and hashlib.sha256(data).hexdigest() != require_sha256.lower():
        raise InputError(f"{path} is not the required model: its SHA-256 is {hashlib.sha256(data).hexdigest()}")
    threads = threads or os.cpu_count() or 1
    try:
        model_file = ModelFile(data)
        contract = read_contract(model_file)
        require_kind(contract, kinds)
        wants_tpu = delegate == "edgetpu" or (delegate == "auto" and model_file.is_edgetpu)
        runner, isolated = open_graph(model_file, threads=threads, edgetpu=wants_tpu, isolate=isolate)
        with parsing("the model"):
            return Model(data, runner, contract, threads, isolated, hints=hints)
    except (InputError, DeviceError) as error:
        raise type(error)(f"{path}: {error}") from error


def _one_input(runner: Runner, contract: Contract | None) -> dict[str, Any]:
    """The graph's input: a picture, or what the contract says of a model of sound."""
    details = runner.inputs
    if len(details) != 1:
        raise InputError(f"the model has {len(details)} inputs; an image model has one")
    if contract is not None and contract.audio is not None:
        return details[0]  # `_check_input` compares it with the contract
    detail: dict[str, Any] = details[0]
    shape = tuple(int(side) for side in detail["shape"])
    is_image = len(shape) == 4 and min(shape) >= 1 and (shape[3] in (1, 3, FREQUENCIES) or shape[1] == 1)
    if is_image and shape[0] != 1:
        raise InputError(f"the file fixes a batch of {shape[0]} pictures; one at a time is run: export it with batch 1")
    if not is_image:
        raise InputError(f"the model's input is not an image: shape {shape}, wanted (1, height, width, 3 or 1)")
    if np.dtype(detail["dtype"]).name not in ("uint8", "int8", "float32"):
        raise InputError(f"the model's input type {np.dtype(detail['dtype']).name} is not uint8, int8 or float32")
    return detail


def _check_answers(details: list[dict[str, Any]]) -> None:
    for detail in details:
        shape = tuple(int(side) for side in detail["shape"])
        if not shape or min(shape) < 1:
            raise InputError(f"the model has an output of shape {shape}, which holds no answer")


def _check_outputs(details: list[dict[str, Any]], contract: Contract) -> None:
    """As many outputs as the contract's way of reading them needs."""
    certificate = contract.patch_certificate
    if certificate is not None and len(details) != 2:
        raise InputError(
            "the contract claims a patch certificate that the graph does not have: it has "
            f"{len(details)} outputs, and none with a map of votes"
        )
    wanted, kind = (
        {1 if certificate is None else 2},
        {"classify": "a classifier", "segment": "a segmentation model"}.get(contract.task, ""),
    )
    if (detection := contract.detection) is not None:
        wanted = {{"raw": 2, "postprocess": len(detection.roles)}.get(detection.head, 1)}
        kind = f"a detector with a {detection.head} head"
    if (keypoints := contract.keypoints) is not None:
        wanted = {1} if keypoints.head == "points" else {1, 2, 4}
        kind = f"a pose model with {keypoints.head}"
    if len(details) not in wanted:
        raise InputError(f"the model has {len(details)} outputs; {kind} has {' or '.join(map(str, sorted(wanted)))}")


def _check_input(detail: dict[str, Any], contract: Contract) -> None:
    spec = contract.input
    wanted = (1, *spec.shape)
    actual = tuple(int(side) for side in detail["shape"])
    dtype = np.dtype(detail["dtype"]).name
    check_coefficient_input(contract)
    planar = spec.color == "GRAY" and actual == (1, 1, spec.height, spec.width)
    if (wanted != actual and not planar) or spec.dtype != dtype:
        raise InputError(f"the contract says {spec.dtype} {wanted}, the graph takes {dtype} {actual}")
