"""What comes of a conversion."""

from dataclasses import dataclass
from pathlib import Path

from edgeguard.model.contract import Contract
from edgeguard_converters.edgetpu.predict import EdgeTpuPrediction
from edgeguard_converters.graph.normalization import Normalization
from edgeguard_converters.verify.gates import GateReport
from edgeguard_converters.verify.guard_cost import GuardCost


@dataclass(frozen=True)
class Conversion:
    """What came of a conversion.

    Attributes:
        path: the file that was written.
        contract: what stands in it.
        report: the gates' measurements.
        normalization: mean and std, and where they came from.
        operators: histogram of the finished graph.
        edgetpu: what the Edge TPU's compiler would probably say of it.
        notes: things the user should know, one line each.
        bytes: size of the file.
        guard_cost: what the guard costs on the gates' images; None without labels.
        crop: as `--crop` takes it, and who says it.
    """

    path: Path
    contract: Contract
    report: GateReport
    normalization: Normalization
    operators: dict[str, int]
    edgetpu: EdgeTpuPrediction
    notes: tuple[str, ...]
    bytes: int
    guard_cost: GuardCost | None = None
    crop: str = ""
