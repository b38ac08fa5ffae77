"""An existing float .tflite."""

from pathlib import Path

from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.labels import read_labels
from edgeguard_converters.load.source import FileFacts
from edgeguard_converters.load.tflite_source import TfliteSource, tflite_source


def load_tflite(path: Path) -> TfliteSource:
    """Load a float .tflite; labels that the metadata tools appended to it come along.

    Raises:
        InputError: it is damaged, quantised or compiled already, or takes no single image.
    """
    data = path.read_bytes()
    labels = read_labels(ModelFile(data))
    return tflite_source(data, "TFLite", FileFacts(labels=labels or None))
