"""The trained model in a confined process of its own, which ends when the float graph is written.

Two reasons. A model file is a program, whatever its format says: libraries that load it have run code of files that
were said to be data. Here nothing that a file does reaches further than one folder that is removed afterwards. And
torch, its exporter and litert-torch hold most of the memory of a conversion, while calibration and gates need none of
them: with the model in a process of its own, their memory is given back whole before calibration begins.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import CheckFailed, DeviceError, EdgeGuardError, InputError
from edgeguard.system.confine import Confinement, Limits, Reach
from edgeguard.system.confined_child import ConfinedChild
from edgeguard.system.files import sha256_file
from edgeguard.system.frames import Frame
from edgeguard.system.isolation import say_what_is_missing
from edgeguard.system.names import with_a_name
from edgeguard_converters.graph.float_graph import FloatGraph, float_graph
from edgeguard_converters.graph.foreign import check_foreign_graph
from edgeguard_converters.graph.normalization import Normalization
from edgeguard_converters.graph.run import Outputs
from edgeguard_converters.load.exchange import arrays_of, facts_of, frame_of_arrays, size_of
from edgeguard_converters.load.formats import is_users_own, model_format
from edgeguard_converters.load.onnx_model import weights_beside
from edgeguard_converters.load.refused import ArchitectureMissing, PickleRefused, SizeMissing
from edgeguard_converters.load.source import Source, facts_from_sidecar, merge_facts

_SERVICE = "edgeguard_converters.load.model_service:ModelService"
_WHAT = "the process that held the model"
_ERRORS = {
    kind.__name__: kind
    for kind in (
        InputError,
        PickleRefused,
        SizeMissing,
        ArchitectureMissing,
        CheckFailed,
        DeviceError,
    )
}
_MOST_TEXT = 4000
_CHANGED = "{} changed while it was read: wait until it is whole, and convert it again"
_CHUNK = 16  # images in the pipe at a time; a multiple of torch_source's batch, so that sums come out the same


class ModelProcess:
    """A fresh process that loads a model and answers for it; it begins with `load`.

    Args:
        limits: of the process.

    Example:
        >>> with ModelProcess() as process:  # doctest: +SKIP
        ...     source = process.load(Path("model.pt2"))
        ...     source.parameter_count()
        3504872
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._child: ConfinedChild | None = None

    def __enter__(self) -> "ModelProcess":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    @property
    def process_id(self) -> int:
        """Of the process, also when it is gone."""
        return 0 if self._child is None else self._child.process_id

    @property
    def exit_code(self) -> int | None:
        """None while it lives; negative: the signal that ended it."""
        return None if self._child is None else self._child.exit_code

    @property
    def confinement(self) -> Confinement:
        """What keeps the process in."""
        return Confinement("", "", "") if self._child is None else self._child.confinement

    def load(self, path: Path, **options: Any) -> "ProcessSource":
        """As `registry.load_source`, over there.

        `arch` and `trust_pickle` are the user's own code: that process is not confined.
        """
        kind = model_format(
            path, arch=options.get("arch"), onnx2tf=bool(options.get("onnx2tf")), weights=options.get("weights")
        )
        options = {name: options.get(name) for name in ("arch", "size", "trust_pickle", "onnx2tf", "weights")}
        sidecar = facts_from_sidecar(with_a_name(path).with_suffix(".json"))
        options["size"] = options["size"] or (None if kind in ("exported", "weights") else sidecar.size)
        before = _identity(path)
        loaded = self._load(path.resolve(), kind, options)
        try:
            size, facts = size_of(loaded["size"]), facts_of(loaded["facts"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path.name}: what was read of it makes no sense: {error}") from error
        facts = replace(merge_facts(facts, sidecar), sha256=sha256_file(path) if path.is_file() else None)
        if _identity(path) != before:  # the hash would be of other bytes than those that were read
            raise InputError(_CHANGED.format(path.name))
        named = str(loaded.get("kind"))[:40]
        return ProcessSource(named, size or facts.size, facts, self, path, options)

    def load_again(self, path: Path, options: dict[str, Any], *, cpu_s: int) -> "ProcessSource":
        """As `load`, in a fresh process that may take so many seconds more of processor time."""
        self._limits = replace(self._limits, cpu_s=None if self._limits.cpu_s is None else self._limits.cpu_s + cpu_s)
        return self.load(path, **options)

    def ask(self, what: str, frame: Frame | None = None, *, most_bytes: int = 1 << 31, **fields: Any) -> Frame:
        """What the process answers, in at most so many bytes.

        Raises:
            EdgeGuardError: what it raised there, or it is gone.
            MemoryError: there was no memory.
        """
        if self._child is None:
            raise DeviceError(f"{_WHAT} is gone")
        frame = frame or Frame({})
        request = Frame({**frame.fields, **fields, "do": what}, frame.blobs)
        return _checked(self._child.ask(request, most_bytes=most_bytes))

    def end(self) -> None:
        """Let it go, its memory and its folder; twice is fine."""
        if self._child is not None:
            self._child.end()

    def _load(self, path: Path, kind: str, options: dict[str, Any]) -> dict[str, Any]:
        if kind == "keras" or options["onnx2tf"]:
            named, data = _translated(path, kind, options, self._limits)
            return self._begin(Frame({"graph": named, "options": options}, (data,))).fields
        if kind == "weights":
            return self._load_weights(path, options)
        reach = Reach((path, *weights_beside(path))) if kind == "onnx" else Reach((path,))
        return self._begin(Frame({"path": str(path), "options": options}), reach).fields

    def _load_weights(self, path: Path, options: dict[str, Any]) -> dict[str, Any]:
        """One confined process reads the file and makes the network, unless the network is the user's own code: then
        the file is read by a confined process, and the user's module takes its numbers in one that is not."""
        request = Frame({"path": str(path), "options": {**options, "trust_pickle": False}})
        try:
            if not is_users_own(options["arch"]):
                return self._begin(request, Reach((path,))).fields
            from edgeguard_converters.load.weights import read_in_child

            weights = read_in_child(path, self._limits, options["weights"])
        except PickleRefused:
            if not options["trust_pickle"]:
                raise
            return self._begin(Frame({"path": str(path), "options": options}), trusted=True).fields
        request = Frame({**weights.fields, "weights": path.name, "options": options}, weights.blobs)
        return self._begin(request, trusted=True).fields

    def _begin(self, request: Frame, reach: Reach | None = None, *, trusted: bool = False) -> Frame:
        self.end()
        self._child = ConfinedChild(_SERVICE, what=_WHAT, limits=self._limits, reach=reach, confined=not trusted)
        confinement = self._child.start()
        if not trusted:
            say_what_is_missing(confinement)
        return self.ask("load", request, most_bytes=0)


@dataclass(frozen=True)
class ProcessSource(Source):
    """A source in a `ModelProcess`.

    Attributes:
        process: holds the model until `release`.
        path, options: that it was loaded with.
    """

    process: ModelProcess
    path: Path
    options: dict[str, Any]

    def outputs(self, normalized: NDArray[np.float32]) -> Outputs:
        """See `Source.outputs`."""
        chunks = [self._outputs(normalized[i : i + _CHUNK]) for i in range(0, len(normalized), _CHUNK)]
        if any([part.shape[1:] for part in parts] != [part.shape[1:] for part in chunks[0]] for parts in chunks):
            raise InputError("the model gives outputs of one shape for some images and of another for others")
        return tuple(np.concatenate(parts) for parts in zip(*chunks, strict=True))

    def joins_boxes(self, normalized: NDArray[np.float32]) -> bool:
        """See `Source.joins_boxes`."""
        asked = frame_of_arrays((normalized[:1],))
        return self.process.ask("joins_boxes", asked, most_bytes=0).fields.get("answer") is True

    def not_finite(self) -> str | None:
        """See `Source.not_finite`."""
        found = self.process.ask("not_finite", most_bytes=0).fields.get("answer")
        return None if found is None else str(found)[:200]

    def parameter_count(self) -> int:
        """See `Source.parameter_count`."""
        count = self.process.ask("parameter_count", most_bytes=0).fields.get("answer")
        if type(count) is not int or not 0 <= count < 1 << 48:
            raise InputError("the process that holds the model counted no parameters")
        return count

    def export(self, normalization: Normalization, size: tuple[int, int], folder: Path, log: Path) -> FloatGraph:
        """See `Source.export`; the graph that comes back is checked before anything of ours reads it."""
        how = (normalization.mean, normalization.std, normalization.origin, normalization.guessed)
        answer = self.process.ask("export", normalization=how, size=size, log=str(log))
        if "log" in answer.fields:
            with suppress(OSError), open(log, "ab") as chatter:
                chatter.write(b"".join(answer.blobs))
            raise _error(answer)
        (data,) = answer.blobs or (b"",)
        check_foreign_graph(data)
        path = folder / "float.tflite"
        path.write_bytes(data)
        return float_graph(path, normalization)

    def again(self, cpu_s: int) -> "ProcessSource":
        """The model, loaded again in a fresh process; see `ModelProcess.load_again`."""
        source = self.process.load_again(self.path, self.options, cpu_s=cpu_s)
        if source.facts.sha256 != self.facts.sha256:
            raise InputError(_CHANGED.format(self.path.name))
        return source

    def get_ready(self) -> None:
        """See `Source.get_ready`; it goes on over there while pictures are read and prepared here."""
        self.process.ask("get_ready")

    def release(self) -> None:
        """See `Source.release`."""
        self.process.end()

    def _outputs(self, normalized: NDArray[np.float32]) -> Outputs:
        return arrays_of(self.process.ask("outputs", frame_of_arrays((normalized,))), rows=len(normalized))


def _identity(path: Path) -> tuple[int, ...]:
    """What changes with a file's content, or with the file that a name stands for."""
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _translated(path: Path, kind: str, options: dict[str, Any], limits: Limits) -> tuple[str, bytes]:
    """The name of its format and a float .tflite, of a model that another library translates."""
    if kind == "keras":
        from edgeguard_converters.load.keras import keras_to_tflite

        return "SavedModel" if path.is_dir() else "Keras", keras_to_tflite(path, options["size"], limits)
    from edgeguard_converters.load.onnx2tf import onnx_to_tflite

    return "ONNX by onnx2tf", onnx_to_tflite(path, options["size"])


def _checked(answer: Frame) -> Frame:
    if "error" in answer.fields and "log" not in answer.fields:
        raise _error(answer)
    return answer


def _error(answer: Frame) -> EdgeGuardError | MemoryError:
    name, text = str(answer.fields["error"]), " ".join(str(answer.fields.get("text"))[:_MOST_TEXT].split())
    if name == "MemoryError":
        return MemoryError(text)
    if name not in _ERRORS:  # a library's, whose text may be a word
        return InputError(f"the model cannot be read or run: {text or 'its reader does not say why'}")
    return _ERRORS[name](text)
