"""A model of sound that needs no training: it says whether a window is loud."""

from model.made_models import Out, made_model

from edgeguard.audio.spec import AudioInput
from edgeguard.model.contract import ENTRY, Contract, InputSpec, Preprocess
from edgeguard_converters.graph.tflite_graph import TfliteGraph


def loudness_model(codec: str = "none", *, rate_hz: int = 8000) -> bytes:
    """A .tflite with its contract; `loud` where the mean level of its log-mel features is above 60 of 255."""
    audio = AudioInput(rate_hz, -(-rate_hz // 508) * 508, "logmel", codec)
    rows, columns, planes = audio.shape
    contract = Contract(
        InputSpec(columns, rows, "uint8", color="GRAY", kind="audio", planes=planes),
        Preprocess("none", 1.0, mean=(128.0,) * 3, std=(127.0,) * 3),
        labels=("quiet", "loud"),
        audio=audio,
    )
    graph = TfliteGraph(made_model([Out([[-12.0]], per_level=0.2)], input_shape=(1, rows, columns, planes)))
    return graph.with_contract(ENTRY, contract.to_json(), contract.labels).data
