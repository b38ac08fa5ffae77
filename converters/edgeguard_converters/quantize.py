"""Full-integer post-training quantisation with a min/max calibrator.

The route and its traps are described in docs/converter.md. In short: ai-edge-quantizer with its min/max update
instead of the default moving average (which depends on the order of images and clips), the input's range overwritten
by the true pixel domain (otherwise the samples decide the scale), input and output left float for
`flatbuffer_edit.to_uint8_io`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard_converters.float_graph import FloatGraph
from edgeguard_converters.quiet import chatter_to

#: Sums in float activations depend on the number of threads, and the same inputs must give the same bytes.
_THREADS = 1


def quantise_int8(graph: FloatGraph, pixels: NDArray[np.uint8], log: Path) -> bytes:
    """int8 weights (per channel) and activations, float input and output.

    Args:
        graph: the float graph, dead filters already mended (`flatbuffer_edit.mend_dead_filters`).
        pixels: calibration images as the model sees them, (n, h, w, 3).
        log: where the quantiser's chatter goes.
    """
    with chatter_to(log):
        from ai_edge_quantizer import calibrator, quantizer
        from ai_edge_quantizer.utils import qsv_utils

        recipes = _recipe()
        calibration = calibrator.Calibrator(
            str(graph.path), num_threads=_THREADS, qsv_update_func=qsv_utils.min_max_update
        )
        signature, argument = _signature(graph.path)
        samples = [{argument: graph.feed(image[None])} for image in pixels]  # a list: it is walked twice
        calibration.calibrate({signature: samples}, recipes)
        ranges = calibration.get_model_qsvs()
        _fix_input_range(ranges, graph)
        quantised = quantizer.Quantizer(str(graph.path), recipes.get_quantization_recipe()).quantize(ranges)
        return bytes(quantised.quantized_model)


def _recipe() -> Any:
    from ai_edge_quantizer import qtyping, recipe, recipe_manager

    recipes = recipe_manager.RecipeManager()
    recipes.load_quantization_recipe(recipe.static_wi8_ai8())
    for border in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        recipes.add_quantization_config(".*", border, algorithm_key="no_quantize")
    return recipes


def _signature(path: Path) -> tuple[str, str]:
    from ai_edge_litert.interpreter import Interpreter

    signatures = Interpreter(str(path)).get_signature_list()
    name = next(iter(signatures))
    return name, signatures[name]["inputs"][0]


def _fix_input_range(ranges: dict[str, Any], graph: FloatGraph) -> None:
    """Overwrite the range of the graph's input with the pixel domain."""
    from ai_edge_litert.interpreter import Interpreter

    input_range = ranges[Interpreter(str(graph.path)).get_input_details()[0]["name"]]
    shape = np.shape(input_range["min"])
    input_range["min"] = np.full(shape, graph.low, np.float32)
    input_range["max"] = np.full(shape, graph.high, np.float32)
