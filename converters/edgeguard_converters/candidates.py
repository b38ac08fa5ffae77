"""The quantised graphs that a conversion may end with: one, or under --auto-mixed several until the gates pass."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import CheckFailed
from edgeguard.model.contract import Contract
from edgeguard_converters.graph import edit
from edgeguard_converters.graph.run import Feed, integer_feed, run_graph
from edgeguard_converters.load.source import FloatGraph
from edgeguard_converters.options import Options
from edgeguard_converters.quantize.mixed import FloatSearch, named_layers
from edgeguard_converters.quantize.quantize import Quantised, float_weights, quantise_with
from edgeguard_converters.quantize.ranges import Method
from edgeguard_converters.verify.gates import Thresholds, judge

#: How far above the asked agreement the calibration images have to agree; each next mixture aims higher.
_MARGINS = (0.02, 0.05, 0.08)
_MARGIN_DB = 1.5


@dataclass(frozen=True, eq=False)
class Job:
    """What a quantised graph is made from."""

    options: Options
    contract: Contract
    graph: FloatGraph
    calibration: NDArray[np.uint8]
    log: Path

    @property
    def feed(self) -> Feed:
        """Pixels to the finished graph's input."""
        dtype = self.options.input_type
        return self.graph.feed if dtype == "float32" else integer_feed(dtype)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A finished graph, with the input and output types that were asked for."""

    data: bytes
    options: Options
    method: Method | None = None

    @property
    def operators(self) -> int:
        """How many there are."""
        return len(edit.operator_outputs(self.data))

    @property
    def float_layers(self) -> tuple[str, ...]:
        """Outputs of the operators of an int8 graph that stayed float."""
        if self.options.precision != "int8":
            return ()
        return tuple(name for _, name in edit.float_operators(self.data))

    @property
    def float_allowed(self) -> bool:
        """True where part of the graph is meant to compute in float."""
        return self.options.precision != "int8" or bool(self.float_layers)

    def how(self) -> dict[str, object]:
        """What the contract tells of how it was made."""
        if self.method is None:
            return {"precision": self.options.precision}
        kept = self.float_layers
        return {"ranges": self.method, **({"float_layers": list(kept)} if kept else {})}


def candidates(job: Job, say: Callable[[str], None]) -> Iterator[Candidate]:
    """Finished graphs, best hope first; the next is made only when the one before failed the gates.

    Raises:
        InputError: a --keep-float that matches nothing.
        CheckFailed: int8 has no form for some operators, and none were allowed to stay float.
    """
    options = job.options
    data = job.graph.path.read_bytes()
    if options.precision == "float32":
        yield Candidate(edit.inlined(data), options)
        return
    if options.precision != "int8":
        yield Candidate(float_weights(job.graph, job.log, options.precision), options)
        return
    kept = named_layers(data, options.keep_float, options.input_type == "float32")
    quantised = quantise_with(options.ranges, job.graph, job.calibration, job.log, kept)
    if options.auto_mixed:
        yield from _mixtures(job, quantised, say)
        return
    if not kept and (floats := edit.float_operators(quantised.data)):
        kinds = ", ".join(sorted({kind for kind, _ in floats}))
        raise CheckFailed(
            f"int8 has no form for {len(floats)} operators ({kinds}; the first makes {floats[0][1]}): "
            "--auto-mixed keeps them float; nothing was written"
        )
    yield _candidate(job, quantised.data, quantised.method)


def _mixtures(job: Job, quantised: Quantised, say: Callable[[str], None]) -> Iterator[Candidate]:
    """The int8 graph, if it passes on the calibration images; then mixtures with more and more float layers.

    The search sees the calibration images only. They are few and known to the ranges, so it aims higher on them than
    the gates ask; at most three mixtures come before the gates' own images.
    """
    pixels, asked = job.calibration, job.options.thresholds
    expected = run_graph(job.graph.path.read_bytes(), pixels, job.graph.feed)
    thresholds = Thresholds(asked.min_agreement, asked.min_snr_db + _MARGIN_DB)

    def passes(data: bytes, margin: float) -> bool:
        found = run_graph(data, pixels, job.graph.feed)
        report = judge(expected, expected, found, job.contract, None, thresholds)
        return not report.failures and report.agreement >= min(asked.min_agreement + margin, 1.0)

    tried: tuple[str, ...] | None = None
    if passes(quantised.data, _MARGINS[0]):
        yield _candidate(job, quantised.data, quantised.method)
        tried = ()
    search = FloatSearch(job.graph, quantised, pixels, job.log)
    for margin in _MARGINS:
        names = search.fewest(lambda data, margin=margin: passes(data, margin))  # type: ignore[misc]
        if names is None:
            say("--auto-mixed: no mixture was found with which the gates pass")
            break
        if names != tried:
            tried = names
            yield _candidate(job, search.build(names), quantised.method)
    if tried is None:
        yield _candidate(job, quantised.data, quantised.method)


def _candidate(job: Job, data: bytes, method: Method) -> Candidate:
    dtype = job.options.input_type
    done = data if dtype == "float32" else edit.to_integer_io(data, job.log, dtype)
    return Candidate(done, job.options, method)
