"""Keras (.keras, .h5) and SavedModel: TensorFlow turns them into a float .tflite, in a confined process of its own.

TensorFlow takes ten seconds to import, talks on every stream and pins its own protobuf, so it never enters ours.
"""

from importlib.util import find_spec
from pathlib import Path

from edgeguard.errors import InputError
from edgeguard.system.confine import Limits, Reach
from edgeguard.system.confined_child import ConfinedChild
from edgeguard.system.extras import how_to_install
from edgeguard.system.frames import Frame
from edgeguard_converters.load.source import FileFacts
from edgeguard_converters.load.tflite_source import TfliteSource, tflite_source
from edgeguard_converters.support.log import new_log

_SERVICE = "edgeguard_converters.load.keras_service:KerasService"
_MOST_BYTES = 1 << 31


def load_keras(path: Path, size: tuple[int, int] | None) -> TfliteSource:
    """Load a Keras file or a SavedModel folder.

    Raises:
        InputError: TensorFlow is not installed, the file holds what is not allowed (a Lambda layer, an operator that
            leaves the graph), is damaged, or cannot be converted; the log's path is named.
    """
    data = keras_to_tflite(path, size, Limits())
    return tflite_source(data, "SavedModel" if path.is_dir() else "Keras", FileFacts())


def keras_to_tflite(path: Path, size: tuple[int, int] | None, limits: Limits) -> bytes:
    """The float .tflite that TensorFlow makes of a Keras file or a SavedModel folder; errors as in `load_keras`."""
    if find_spec("tensorflow") is None:
        raise InputError(f"reading Keras models needs TensorFlow: {how_to_install('keras')}")
    path = path.resolve()
    child = ConfinedChild(_SERVICE, what="TensorFlow's process", limits=limits, reach=Reach((path,)))
    with child:
        answer = child.ask(Frame({"path": str(path), "size": size}), most_bytes=_MOST_BYTES)
    if "error" not in answer.fields and len(answer.blobs) == 1:
        return answer.blobs[0]
    reason = f"{path.name}: {' '.join(str(answer.fields.get('text')).split())}"
    chatter = b"".join(answer.blobs)
    if not chatter:
        raise InputError(reason)
    log = new_log()
    log.write_bytes(chatter)
    raise InputError(f"{reason} (log: {log})")
