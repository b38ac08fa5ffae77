"""Source, model, results: the bundled clip through the bundled model, with the undefended answer beside it."""

from edgeguard import Pipeline
from edgeguard.demo.assets import bundled_clip, bundled_model

# Instead of the clip: "0" (a camera), "photos/", "rtsp://...", "synthetic:cards?fps=15". Instead of the bundled model:
# the path of your .tflite. A camera that is lost is opened again; a folder or a file ends.
with Pipeline(bundled_clip(), bundled_model(), compare_every=1) as pipeline:
    for result in pipeline:
        best, undefended = result.prediction, result.undefended
        changed = undefended is not None and undefended.label != best.label
        print(
            f"{result.frame:4} {best.label:12} {best.score:.2f}  passes {result.passes}", "differs" if changed else ""
        )

counters = pipeline.counters
print(f"{counters.frames} frames, {counters.lost} lost")
