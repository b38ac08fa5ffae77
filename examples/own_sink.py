"""A sink of your own: anything with `write`. This one counts labels and keeps a log of what was seen when."""

import csv
from collections import Counter
from pathlib import Path
from types import TracebackType

from edgeguard import FrameResult, Pipeline
from edgeguard.demo.assets import bundled_clip, bundled_model


class LabelLog:
    """A CSV file with a line for each change of the label; closed as a context manager."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="", encoding="utf-8")
        self._lines, self._last = csv.writer(self._file), ""
        self.counts: Counter[str] = Counter()

    def write(self, result: FrameResult) -> None:
        """Called with each result, in order."""
        label = result.prediction.label
        self.counts[label] += 1
        if label != self._last:
            self._lines.writerow([result.frame, result.captured_at, label, result.prediction.score])
            self._last = label

    def __enter__(self) -> "LabelLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


if __name__ == "__main__":
    with Pipeline(bundled_clip(), bundled_model()) as pipeline, LabelLog(Path("labels.csv")) as sink:
        for result in pipeline:
            sink.write(result)
    print(dict(sink.counts))
