"""Fine-tuning in the confined process that holds a model: the two ends of the pipe."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.system.frames import Frame
from edgeguard_converters.graph.normalization import Normalization
from edgeguard_converters.load.model_process import ProcessSource
from edgeguard_converters.load.source import Source

NO_CLASSIFIER = "--finetune trains torch classifiers of pixels: for other models fine-tune before converting"
_CPU_S = 30  # of processor time for an image in an epoch, beside what a process has anyway
_FILES = 16  # times the model's file: weights of half precision become float, and Adam keeps two numbers for each
_LEAST = 64 << 20


class ProcessTraining:
    """A `Training` in a fresh process, which loads the model again.

    Args:
        source: the model; its process ends.
        normalization: of its input.
        size: width and height of the input.
        images: that are trained on in all epochs together; they give the process its processor time.

    Raises:
        InputError: what the process said, or it broke a limit.
    """

    def __init__(
        self, source: ProcessSource, normalization: Normalization, size: tuple[int, int], *, images: int
    ) -> None:
        self._source = source.again(_CPU_S * images)
        how = normalization.mean, normalization.std, normalization.origin, normalization.guessed
        self._ask("open", normalization=how, size=size)

    @property
    def identity(self) -> str:
        """The hash of the file, and the options that make a module of it; nothing that the process said."""
        return f"file {self._source.facts.sha256} {sorted(self._source.options.items())}"

    def show(self, pixels: NDArray[np.uint8], targets: NDArray[np.int64]) -> None:
        """See `Training.show`."""
        self._ask("show", pixels.tobytes(), targets.astype("<i8").tobytes(), shape=pixels.shape)

    def begin(self, state: bytes | None, epochs: int) -> int:
        """See `Training.begin`."""
        done = self._ask("begin", *(() if state is None else (state,)), epochs=epochs).fields.get("done")
        if type(done) is not int or not 0 <= done <= epochs:
            raise InputError("the process that trains the model says no number of epochs")
        return done

    def train(self, epoch: int, batch: int) -> None:
        """See `Training.train`."""
        self._ask("train", epoch=epoch, batch=batch)

    def state(self, epochs: int) -> bytes:
        """See `Training.state`; at most 16 times what the file has, and 64 MiB."""
        most = _LEAST + _FILES * self._source.path.stat().st_size
        answer = self._source.process.ask("finetune", most_bytes=most, training="state", epochs=epochs)
        if len(answer.blobs) != 1:
            raise InputError("the process that trains the model gives no progress to keep")
        return answer.blobs[0]

    def tuned(self) -> ProcessSource:
        """See `Training.tuned`: the process goes on answering, for the trained module."""
        self._ask("end")
        return replace(self._source, kind="torch.export")

    def _ask(self, what: str, *blobs: bytes, **fields: Any) -> Frame:
        return self._source.process.ask("finetune", Frame({**fields, "training": what}, blobs))


class TrainingService:
    """The other end, inside: answers requests about the training of one model.

    Args:
        source: the model.

    Attributes:
        source: the model; the trained one when the training has ended.
    """

    def __init__(self, source: Source, request: Frame) -> None:
        from edgeguard_converters.load.torch_source import TorchSource
        from edgeguard_converters.quantize.quantized_training import QuantizedTraining

        if not isinstance(source, TorchSource):
            raise InputError(NO_CLASSIFIER)
        self.source: Source = source
        mean, std, origin, guessed = request.fields["normalization"]
        width, height = request.fields["size"]
        self._training = QuantizedTraining(
            source, Normalization(tuple(mean), tuple(std), origin, guessed), (width, height)
        )

    def __call__(self, request: Frame) -> Frame:
        """Answer one request."""
        what, training = request.fields["training"], self._training
        if what == "show":
            pixels, targets = request.blobs
            shape = tuple(request.fields["shape"])
            training.show(np.frombuffer(pixels, np.uint8).reshape(shape), np.frombuffer(targets, "<i8"))
        elif what == "begin":
            state = request.blobs[0] if request.blobs else None
            return Frame({"done": training.begin(state, request.fields["epochs"])})
        elif what == "train":
            training.train(request.fields["epoch"], request.fields["batch"])
        elif what == "state":
            return Frame({}, (training.state(request.fields["epochs"]),))
        else:
            self.source = training.tuned()
        return Frame({})
