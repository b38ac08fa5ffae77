"""What is attacked before there is a .tflite: a trained network, in float, behind a codec."""

from dataclasses import dataclass

from torch import nn

from edgeguard.differentiable.surrogates import Backward
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.codec_network import CodecNetwork


@dataclass(frozen=True, eq=False)
class TrainedTarget:
    """A trained classifier as `train.restore` reads it.

    Attributes:
        name: for tables.
        network: normalized pixels (or coefficients) to logits.
        sha256: of its weights.
    """

    name: str
    network: nn.Module
    sha256: str

    def victim(self, codec: str, backward: Backward = "straight-through") -> CodecNetwork:
        """Levels to logits: float32 (n, 3, h, w) 0..255 through the codec, then the network, to (n, classes).

        Args:
            codec: as `TrainConfig.codec`, a fixed one or `none`.
            backward: the codec's derivative; forward it is the codec itself.

        Raises:
            InputError: no such codec.
        """
        return CodecNetwork(self.network, TrainingCodec(codec), backward)
