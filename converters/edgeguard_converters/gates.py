"""The two gates that a conversion has to pass on images that were not used to calibrate."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard_converters.statistics import snr_db, wilson

FLOAT_TOLERANCE = 1e-3
FEW_IMAGES = 50


@dataclass(frozen=True)
class Thresholds:
    """What must hold: top-1 agreement of float and int8 (upper Wilson bound), and SNR over all outputs in dB."""

    min_agreement: float = 0.90
    min_snr_db: float = 15.0


@dataclass(frozen=True)
class GateReport:
    """What the gates measured on n images; accuracies are None without labels."""

    n: int
    float_difference: float
    agreement: float
    agreement_low: float
    agreement_high: float
    snr_db: float
    float_top1: float | None
    int8_top1: float | None
    failures: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the contract; an infinite SNR (no difference at all) becomes None."""
        fields = asdict(self)
        fields["failures"] = list(self.failures)
        return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in fields.items()}


def judge(
    torch_outputs: NDArray[np.float32],
    float_outputs: NDArray[np.float32],
    int8_outputs: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
    thresholds: Thresholds,
) -> GateReport:
    """Compare torch with the float graph, and the float graph with the int8 one.

    All arrays are (n, classes), but torch's may hold the first images only.
    """
    n = len(float_outputs)
    largest = max(float(np.abs(torch_outputs).max()), 1e-30)
    difference = float(np.abs(torch_outputs - float_outputs[: len(torch_outputs)]).max()) / largest
    agreeing = int((float_outputs.argmax(axis=1) == int8_outputs.argmax(axis=1)).sum())
    low, high = wilson(agreeing, n)
    snr = snr_db(float_outputs, int8_outputs)
    failures = []
    if not difference <= FLOAT_TOLERANCE:
        failures.append(f"float gate: torch and the float graph differ by {difference:.2g} of the largest output")
    if high < thresholds.min_agreement:
        failures.append(
            f"agreement gate: {agreeing / n:.1%} (at most {high:.1%}) of labels survive, "
            f"wanted {thresholds.min_agreement:.0%}"
        )
    if not snr >= thresholds.min_snr_db:
        failures.append(f"SNR gate: {snr:.1f} dB, wanted {thresholds.min_snr_db:g} dB")
    return GateReport(
        n=n,
        float_difference=difference,
        agreement=agreeing / n,
        agreement_low=low,
        agreement_high=high,
        snr_db=snr,
        float_top1=_accuracy(float_outputs, labels),
        int8_top1=_accuracy(int8_outputs, labels),
        failures=tuple(failures),
    )


def _accuracy(outputs: NDArray[np.float32], labels: NDArray[np.int64] | None) -> float | None:
    return None if labels is None else float((outputs.argmax(axis=1) == labels).mean())
