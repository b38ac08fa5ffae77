"""Several cameras in one process: each has a thread, a pipeline and a model of its own; results meet in one queue.

A model answers one frame at a time, so pipelines do not share one. `threads=1` keeps two models from fighting over
the cores.
"""

import queue
import threading

from edgeguard import EdgeGuardError, FrameResult, Pipeline, load_model
from edgeguard.demo.assets import bundled_model

CAMERAS = {"door": "synthetic:cards?fps=8&width=320&height=240", "yard": "synthetic:cards?fps=4&width=320&height=240"}
RESULTS_OF_EACH = 5


def watch(name: str, source: str, found: "queue.Queue[tuple[str, FrameResult | None]]") -> None:
    """Put a camera's results into the queue; None when it ends."""
    try:
        with Pipeline(source, load_model(bundled_model(), threads=1), keep_frames=False) as pipeline:
            for number, result in enumerate(pipeline, 1):
                found.put((name, result))
                if number == RESULTS_OF_EACH:
                    break
    except EdgeGuardError as error:  # a camera that is not there must not end the others
        print(f"{name}: {error}")
    found.put((name, None))


if __name__ == "__main__":
    results: queue.Queue[tuple[str, FrameResult | None]] = queue.Queue()
    for camera in CAMERAS.items():
        threading.Thread(target=watch, args=(*camera, results), daemon=True).start()
    running = len(CAMERAS)
    while running:
        name, result = results.get()
        running -= result is None
        if result is not None:
            print(
                f"{name:5} {result.prediction.label:12} {result.prediction.score:.2f}  {result.age_ms or 0:.0f} ms old"
            )
