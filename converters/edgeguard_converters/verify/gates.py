"""The gates that a conversion has to pass on images that were not used to calibrate."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.model.contract import Contract
from edgeguard.statistics import is_chance, lowest_snr_db, snr_db, wilson
from edgeguard_converters import defaults
from edgeguard_converters.graph.run import Outputs
from edgeguard_converters.verify.agreement import Agreement, agreement, classes_of

FLOAT_TOLERANCE = 1e-3
_NOTED_IMAGES = 5
_NOTED_LOSS = 0.03  # of top-1: more than quantizing costs a trained network
FEW_IMAGES = 50
#: What has to survive quantization, for each task.
_SURVIVE = {"classify": "labels", "detect": "boxes", "segment": "pixels' classes", "keypoints": "keypoints"}
_SAME_ANSWER = 1e-5  # of the largest output; float sums of other order differ by less
_TRIMMED = 20
_FEWEST_TO_TRIM = 8
_ALIKE = (
    "the model answers the same for each of {n} gate images: its weights are zero or not the trained ones, or its "
    "preprocessing is another one (see --preprocess)"
)


@dataclass(frozen=True)
class Thresholds:
    """What must hold: agreement of float and int8 (upper 95 % bound), and the SNR of each output in dB."""

    min_agreement: float = defaults.MIN_AGREEMENT
    min_snr_db: float = defaults.MIN_SNR_DB


@dataclass(frozen=True)
class GateReport:
    """What the gates measured on n images; accuracies are None without labels.

    Attributes:
        snr_trimmed_db: the SNR without the images that int8 holds worst (one in twenty, at least one); None for few.
        worst: number of the image that it holds worst.
    """

    n: int
    float_difference: float
    agreement: float
    agreement_low: float
    agreement_high: float
    snr_db: float
    float_top1: float | None
    int8_top1: float | None
    failures: tuple[str, ...]
    snr_trimmed_db: float | None = None
    worst: int | None = None

    @property
    def is_of_the_model(self) -> bool:
        """The model itself, or its float graph, is refused: no other int8 form passes."""
        return any(line.startswith(("float gate", _ALIKE[:30])) for line in self.failures)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the contract; an infinite SNR (no difference at all) becomes None."""
        fields = asdict(self)
        fields["failures"] = list(self.failures)
        return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in fields.items()}


def check_gates(
    trained: Outputs,
    float_outputs: Outputs,
    int8_outputs: Outputs,
    *,
    contract: Contract,
    labels: NDArray[np.int64] | None,
    thresholds: Thresholds,
    reference: Outputs | None = None,
) -> GateReport:
    """Compare the trained model with the float graph, and the float graph with the quantized one, on n images.

    Args:
        trained: what the trained model says, (m, ...) for each output; m <= n: of the first images only.
        float_outputs: what the float graph says, (n, ...) for each output.
        int8_outputs: what the quantized graph says, dequantized, in the same shapes.
        contract: of the model; its task tells what agreement means.
        labels: the right raw output index of each image, (n,), or None where they are not known.
        thresholds: what must hold.
        reference: what the float graph said before fine-tuning, if there was any: the quantized file has to be as
            accurate as the model that was given, which the float graph after fine-tuning says nothing of.
    """
    difference = largest_difference(trained, float_outputs)
    same = agreement(float_outputs, int8_outputs, contract)
    snr = lowest_snr_db(float_outputs, int8_outputs)
    worst, trimmed = without_the_worst(float_outputs, int8_outputs)
    given = float_outputs if reference is None else reference
    float_top1, int8_top1 = _accuracy(given[0], labels, contract), _accuracy(int8_outputs[0], labels, contract)
    judged = snr if trimmed is None else max(snr, trimmed)
    failures = _failures(difference, same, judged, thresholds, _SURVIVE[contract.task])
    if answers_alike(float_outputs):
        failures.insert(0, _ALIKE.format(n=len(float_outputs[0])))
    if reference is not None and float_top1 is not None and int8_top1 is not None:
        n = len(float_outputs[0])
        if wilson(round(int8_top1 * n), n)[1] < float_top1:
            failures.append(f"accuracy gate: {int8_top1:.1%} after fine-tuning, {float_top1:.1%} as it was given")
    return GateReport(
        n=len(float_outputs[0]),
        float_difference=difference,
        agreement=same.share,
        agreement_low=same.low,
        agreement_high=same.high,
        snr_db=snr,
        float_top1=float_top1,
        int8_top1=int8_top1,
        failures=tuple(failures),
        snr_trimmed_db=trimmed,
        worst=worst,
    )


def chance_line(gates: GateReport, contract: Contract) -> str | None:
    """A line where the model as it was given does no better on labeled images than guessing would; else None."""
    classes = len(contract.labels) - contract.background
    if contract.task != "classify" or gates.float_top1 is None:
        return None
    if not is_chance(round(gates.float_top1 * gates.n), gates.n, classes):
        return None
    return (
        f"THE MODEL AS IT WAS GIVEN IS NOT SHOWN TO BE BETTER THAN GUESSING: {gates.float_top1:.1%} of {gates.n} "
        f"images with {classes} classes; is it trained, and are labels, preprocessing and crop right?"
    )


def loss_line(gates: GateReport, contract: Contract) -> str | None:
    """A line where int8 is right on clearly fewer labeled images than float, whatever the gates say; else None."""
    if contract.task != "classify" or gates.float_top1 is None or gates.int8_top1 is None:
        return None
    lost = gates.float_top1 - gates.int8_top1
    if lost < _NOTED_LOSS or lost * gates.n < _NOTED_IMAGES:
        return None
    return (
        f"int8 is right on {gates.int8_top1:.1%} of {gates.n} images, float on {gates.float_top1:.1%}: it loses "
        f"{100 * lost:.1f} points. --round adaptive, --auto-mixed or a longer training may win them back"
    )


def _failures(difference: float, same: Agreement, snr: float, thresholds: Thresholds, what: str) -> list[str]:
    """One line for each gate that these figures do not pass; `what` has to survive."""
    failures = []
    if not difference <= FLOAT_TOLERANCE:
        failures.append(
            f"float gate: the trained model and the float graph differ by {difference:.2g} of the largest output"
        )
    if same.high < thresholds.min_agreement:
        failures.append(
            f"agreement gate: {same.share:.1%} (at most {same.high:.1%}) of {what} survive, "
            f"wanted {thresholds.min_agreement:.0%}"
        )
    if not snr >= thresholds.min_snr_db:
        failures.append(f"SNR gate: {snr:.1f} dB, wanted {thresholds.min_snr_db:g} dB")
    return failures


def answers_alike(outputs: Outputs) -> bool:
    """True for a model that answers the same whatever it sees: each output is equal for all of at least two images."""
    if len(outputs[0]) < 2:
        return False
    spreads = [float(np.ptp(values, axis=0).max()) for values in outputs if values.size]
    largest = [float(np.abs(values).max()) for values in outputs if values.size]
    return all(spread <= _SAME_ANSWER * most for spread, most in zip(spreads, largest, strict=True))


def without_the_worst(float_outputs: Outputs, int8_outputs: Outputs) -> tuple[int | None, float | None]:
    """The image with the most noise in the output of the lowest SNR, and the lowest SNR without the worst images.

    One image whose activations calibration never came near can hold most of the noise of all of them.
    """
    n = len(float_outputs[0])
    if n < _FEWEST_TO_TRIM:
        return None, None
    left_out = max(1, n // _TRIMMED)
    found = []
    for wanted, values in zip(float_outputs, int8_outputs, strict=True):
        noise = ((wanted - values).astype(np.float64) ** 2).reshape(n, -1).sum(axis=1)
        order = np.argsort(noise, kind="stable")
        kept = order[: n - left_out]
        found.append((snr_db(wanted, values), int(order[-1]), snr_db(wanted[kept], values[kept])))
    return min(found)[1], min(trimmed for _, _, trimmed in found)


def largest_difference(trained: Outputs, found: Outputs) -> float:
    """The largest |difference| of any output, in parts of that output's largest |value|; infinite for other shapes."""
    worst = 0.0
    if len(trained) != len(found):
        return float("inf")
    for wanted, values in zip(trained, found, strict=True):
        values = values[: len(wanted)]
        if wanted.size != values.size:
            return float("inf")
        largest = max(float(np.abs(wanted).max()), 1e-30)
        worst = max(worst, float(np.abs(wanted - values.reshape(wanted.shape)).max()) / largest)
    return worst


def _accuracy(outputs: NDArray[np.float32], labels: NDArray[np.int64] | None, contract: Contract) -> float | None:
    return None if labels is None else float((classes_of(outputs, contract) == labels).mean())
