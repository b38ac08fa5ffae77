"""The quantized graphs that a conversion may end with: one, or under --auto-mixed several until the gates pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import CheckFailed
from edgeguard.model.contract import Contract
from edgeguard_converters.graph.baked_guard import splice
from edgeguard_converters.graph.float_graph import FloatGraph
from edgeguard_converters.graph.run import Feed, integer_feed
from edgeguard_converters.graph.tflite_graph import TfliteGraph
from edgeguard_converters.notes import Notes
from edgeguard_converters.options import Options
from edgeguard_converters.quantize.mixed import FloatSearch, named_layers
from edgeguard_converters.quantize.quantize import Quantized, float_weights, quantize
from edgeguard_converters.quantize.ranges import Method
from edgeguard_converters.quantize.rounding import LEAST_IMAGES, round_adaptively
from edgeguard_converters.verify.gates import Thresholds, check_gates

#: How far above the wanted agreement the calibration images have to agree; each next mixture aims higher.
_MARGINS = (0.02, 0.05, 0.08)
_MARGIN_DB = 1.5


@dataclass(frozen=True, eq=False)
class Candidate:
    """A finished graph, with the input and output types that are wanted, a baked guard inside.

    Attributes:
        graph: what the file will hold, but for the contract.
        feed: pixels (1, h, w, 3) to its input.
        operators: how many there are, those of a baked guard aside.
        float_layers: outputs of the operators of an int8 graph that stayed float.
        float_allowed: part of the graph is meant to compute in float.
        how: what the contract's `gates` tell of how it was made.
    """

    graph: TfliteGraph
    feed: Feed
    operators: int
    float_layers: tuple[str, ...]
    float_allowed: bool
    how: dict[str, object]


def candidates(
    graph: FloatGraph,
    calibration: NDArray[np.uint8],
    *,
    contract: Contract,
    options: Options,
    log: Path,
    notes: Notes,
    stand_in: bool = False,
) -> Iterator[Candidate]:
    """Finished graphs, best hope first; the next is made only when the one before failed the gates.

    Args:
        graph: the float graph, dead filters already mended.
        calibration: images as the trained network sees them, (n, h, w, 3).
        contract: of the model.
        options: precision, borders, ranges and float layers.
        log: where the tools' chatter goes.
        notes: gets a line when no mixture was found, or no better rounding, or where the rounding changes.
        stand_in: the images are not the user's own: filters are not fitted to them unless the options say so.

    Raises:
        InputError: a --keep-float that matches nothing.
        CheckFailed: int8 has no form for some operators, and none were allowed to stay float.
    """
    if options.precision == "float32":
        return iter((_float_candidate(graph.tflite.inlined(), graph, options),))
    if options.precision != "int8":
        return iter((_float_candidate(float_weights(graph, log, options.precision), graph, options),))
    kept: tuple[str, ...] = ()
    if options.keep_float:
        kept = named_layers(graph.tflite, options.keep_float, options.input_type == "float32")
    quantized = quantize(options.ranges, graph, calibration, log=log, keep_float=kept)
    finish = _Finish(graph, contract, options, method=quantized.method, log=log)
    if options.auto_mixed:
        return _mixtures(_Trial(graph, calibration, contract, options), quantized, finish, notes)
    if not kept and (floats := quantized.graph.float_operators()):
        kinds = ", ".join(sorted({kind for kind, _ in floats}))
        raise CheckFailed(
            f"int8 has no form for {len(floats)} operators ({kinds}; the first makes {floats[0][1]}): "
            "--auto-mixed keeps them float; nothing was written"
        )
    if options.rounding == "adaptive":
        rounded = round_adaptively(graph, quantized.graph, calibration, log=log)
        if rounded is not quantized.graph:
            return iter((finish(rounded, rounding="adaptive"),))
        notes.add("--round adaptive is no better than nearest on the calibration pictures: nearest is kept")
    fits = options.rounding == "auto" and not stand_in and len(calibration) >= LEAST_IMAGES

    def roundings() -> Iterator[Candidate]:
        yield finish(quantized.graph)
        if not fits:
            return
        rounded = round_adaptively(graph, quantized.graph, calibration, log=log)
        refused = "the gates refuse filters at their nearest levels"
        if rounded is quantized.graph:
            notes.add(f"{refused}, and to fit them (--round adaptive) is no better on the calibration pictures")
            return
        notes.add(f"{refused}: they were fitted to the calibration pictures (--round adaptive)")
        yield finish(rounded, rounding="adaptive")

    return roundings()


class _Finish:
    """Makes candidates of int8 graphs with float borders."""

    def __init__(self, source: FloatGraph, contract: Contract, options: Options, *, method: Method, log: Path) -> None:
        dtype, guard = options.input_type, contract.guard
        self.log = log
        self._dtype, self._method = dtype, method
        self._feed = source.feed if dtype == "float32" else integer_feed(dtype)
        self._baked = guard.profile if guard.place == "in-graph" else None

    def __call__(self, graph: TfliteGraph, **how: object) -> Candidate:
        done = graph if self._dtype == "float32" else graph.with_integer_borders(self.log, self._dtype)
        layers = tuple(name for _, name in done.float_operators())
        return Candidate(
            graph=done if self._baked is None else splice(done, self._baked),
            feed=self._feed,
            operators=len(done.operator_outputs()),
            float_layers=layers,
            float_allowed=bool(layers),
            how={"ranges": self._method, **how, **({"float_layers": list(layers)} if layers else {})},
        )


def _float_candidate(graph: TfliteGraph, source: FloatGraph, options: Options) -> Candidate:
    return Candidate(graph, source.feed, len(graph.operator_outputs()), (), True, {"precision": options.precision})


class _Trial:
    """The gates on the calibration images, for the search of --auto-mixed.

    These are few and known to the ranges, so it aims higher on them than the gates do.
    """

    def __init__(self, graph: FloatGraph, pixels: NDArray[np.uint8], contract: Contract, options: Options) -> None:
        wanted = options.thresholds
        self.graph, self.pixels = graph, pixels
        self._contract, self._wanted = contract, wanted
        self._expected = graph.outputs(pixels)
        self._thresholds = Thresholds(wanted.min_agreement, wanted.min_snr_db + _MARGIN_DB)

    def passes(self, graph: TfliteGraph, margin: float) -> bool:
        """Whether a graph with float borders agrees by that margin more than is wanted."""
        found, expected = graph.outputs(self.pixels, self.graph.feed), self._expected
        report = check_gates(
            expected, expected, found, contract=self._contract, labels=None, thresholds=self._thresholds
        )
        return not report.failures and report.agreement >= min(self._wanted.min_agreement + margin, 1.0)


def _mixtures(trial: _Trial, quantized: Quantized, finish: _Finish, notes: Notes) -> Iterator[Candidate]:
    """The int8 graph, if it passes on the calibration images; then mixtures with more and more float layers.

    The search sees the calibration images only; at most three mixtures come before the gates' own images.
    """
    tried: tuple[str, ...] | None = None
    if trial.passes(quantized.graph, _MARGINS[0]):
        yield finish(quantized.graph)
        tried = ()
    search = FloatSearch(trial.graph, quantized, pixels=trial.pixels, log=finish.log)
    for margin in _MARGINS:
        names = search.fewest(partial(trial.passes, margin=margin))
        if names is None:
            notes.add("--auto-mixed: no mixture was found with which the gates pass")
            break
        if names != tried:
            tried = names
            yield finish(search.build(names))
    if tried is None:
        yield finish(quantized.graph)
