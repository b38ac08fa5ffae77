"""An existing float .tflite."""

from pathlib import Path

from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.labels import read_labels
from edgeguard_converters.graph.foreign import check_foreign_graph
from edgeguard_converters.load.archive import read_file
from edgeguard_converters.load.source import FileFacts
from edgeguard_converters.load.tflite_source import TfliteSource, tflite_source


def load_tflite(path: Path) -> TfliteSource:
    """Load a float .tflite; labels that the metadata tools appended to it come along.

    Raises:
        InputError: it is damaged, quantised or compiled already, or takes no single image.
    """
    data = read_file(path)
    check_foreign_graph(data)
    labels = read_labels(ModelFile(data))
    return tflite_source(data, "TFLite", FileFacts(labels=labels or None))
