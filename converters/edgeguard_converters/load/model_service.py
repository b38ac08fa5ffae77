"""The inside of the process that holds a trained model: it loads it and answers for it."""

from pathlib import Path
from threading import Thread
from typing import Any

from edgeguard.system.frames import Frame
from edgeguard_converters.graph.normalization import Normalization
from edgeguard_converters.load.exchange import arrays_of, facts_to_json, frame_of_arrays
from edgeguard_converters.load.source import FileFacts, Source
from edgeguard_converters.quantize.training_process import TrainingService
from edgeguard_converters.support.memory import give_back_memory, keep_little

_LOG_KEPT = 1 << 18  # bytes of an exporter's chatter that are worth a look


class ModelService:
    """Answers requests about one model, which the first request names.

    Args:
        folder: where it may write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._source: Source | None = None
        self._training: TrainingService | None = None
        self._getting_ready: Thread | None = None

    def __call__(self, request: Frame) -> Frame:
        """Answer one request: `load` first, then any of the others."""
        what = request.fields["do"]
        if what == "load":
            self._source = _load(request, self._folder)
            source = self._source
            return Frame({"kind": source.kind, "size": source.size, "facts": facts_to_json(source.facts)})
        assert self._source is not None
        if self._getting_ready is not None:
            self._getting_ready.join()  # two threads that import parts of one library find halves of modules
        if what == "get_ready":
            self._getting_ready = Thread(target=self._source.get_ready, daemon=True)
            self._getting_ready.start()
            return Frame({})
        if what == "outputs":
            return frame_of_arrays(self._source.outputs(arrays_of(request)[0]))
        if what == "joins_boxes":
            return Frame({"answer": self._source.joins_boxes(arrays_of(request)[0])})
        if what == "export":
            return self._export(self._source, request)
        if what == "finetune":
            return self._finetune(self._source, request)
        return Frame({"answer": getattr(self._source, {"not_finite": what, "parameter_count": what}[what])()})

    def _finetune(self, source: Source, request: Frame) -> Frame:
        if self._training is None:
            self._training = TrainingService(source, request)
            return Frame({})
        answer = self._training(request)
        self._source = self._training.source
        return answer

    def _export(self, source: Source, request: Frame) -> Frame:
        log = self._folder / "log"
        normalization = Normalization(*(_tuple(value) for value in request.fields["normalization"]))
        size = request.fields["size"]
        give_back_memory()  # what running it took, before the exporter takes the most
        try:
            with keep_little():
                graph = source.export(normalization, (size[0], size[1]), self._folder, log)
        except Exception as error:
            chatter = log.read_bytes()[-_LOG_KEPT:] if log.is_file() else b""
            text = str(error).replace(str(log), request.fields["log"])
            return Frame({"error": type(error).__name__, "text": text, "log": True}, (chatter,))
        give_back_memory()
        return Frame({}, (graph.path.read_bytes(),))


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _load(request: Frame, folder: Path) -> Source:
    options = dict(request.fields["options"])
    options["size"] = _tuple(options.get("size"))
    if "graph" in request.fields:
        from edgeguard_converters.load.tflite_source import tflite_source

        return tflite_source(request.blobs[0], request.fields["graph"], FileFacts())
    if "weights" in request.fields:
        from edgeguard_converters.load.state_dict import source_of_weights
        from edgeguard_converters.load.weights import weights_of_frame

        return source_of_weights(weights_of_frame(request), options["arch"], options["size"])
    from edgeguard_converters.load.registry import load_alone

    return load_alone(Path(request.fields["path"]), **options)
