"""What a model said, ready for people and JSON."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Score:
    """One class: its label (the index as text where there is none), the raw output index, and a score 0..1."""

    label: str
    index: int
    score: float


@dataclass(frozen=True)
class BoxScore:
    """One detected object: its class and score, its corners in the frame's pixels, its identity where it has one."""

    label: str
    index: int
    score: float
    x1: float
    y1: float
    x2: float
    y2: float
    track: int | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Keypoint:
    """A point of a pose: its name (its number as text where there is none), a score 0..1, and where, in the frame's
    pixels."""

    name: str
    index: int
    score: float
    x: float
    y: float


@dataclass(frozen=True, eq=False)
class ClassMap:
    """The class of each pixel that a segmentation model looked at.

    Attributes:
        classes: (h, w) of class numbers.
        x1, y1, x2, y2: the part of the frame that it covers, in the frame's pixels.
    """

    classes: NDArray[np.int64]
    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Prediction:
    """The classes with the highest scores, best first; of a detector those of its best boxes, none where it sees none.

    Of a segmentation the classes with the largest shares of the picture; of a pose its score under the label "pose".

    Attributes:
        top: see above.
        boxes: of a detector, else None.
        shares: of a segmentation, else None: each class that it sees, largest share first; the score is the share.
        class_map: of a segmentation, else None.
        keypoints: of a pose, else None: all of them, in the model's order.
        certified_patch: side of the largest square, in pixels of the model's input, that provably cannot change the
            label whatever is in it and wherever it is; 0: none. None for models without such a proof.
        certified_patch_frame: the same in pixels of the frame before the model's guard, crop and resize.
    """

    top: tuple[Score, ...]
    boxes: tuple[BoxScore, ...] | None = None
    shares: tuple[Score, ...] | None = None
    class_map: ClassMap | None = None
    keypoints: tuple[Keypoint, ...] | None = None
    certified_patch: int | None = None
    certified_patch_frame: int | None = None

    @property
    def best(self) -> Score | None:
        """The first of `top`; None for a detector or a pose that sees nothing."""
        return self.top[0] if self.top else None

    def counts(self) -> dict[str, int]:
        """How many objects of each class a detector sees; else the best class alone."""
        if self.boxes is None:
            return {} if self.best is None else {self.best.label: 1}
        return dict(Counter(box.label for box in self.boxes))

    @property
    def label(self) -> str:
        """The best class's label; "nothing" for a detector that sees nothing."""
        return self.top[0].label if self.top else "nothing"

    @property
    def index(self) -> int | None:
        """The best class's raw output index."""
        return self.top[0].index if self.top else None

    @property
    def score(self) -> float:
        """The best class's score; 0 for a detector that sees nothing."""
        return self.top[0].score if self.top else 0.0


def two_classes(scores: NDArray[np.float32], *, logits: bool) -> NDArray[np.float32]:
    """Scores of one output (..., 1), that of class 1, as those of two classes (..., 2); others as they are.

    Softmax of the two logits is the sigmoid of the one.

    Example:
        >>> two_classes(np.array([[0.75]], np.float32), logits=False).tolist()
        [[0.25, 0.75]]
    """
    if scores.shape[-1] != 1:
        return scores
    other = np.zeros_like(scores) if logits else 1 - scores
    return np.concatenate([other, scores], axis=-1)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float32)


def rank(
    scores: NDArray[np.float32],
    labels: tuple[str, ...],
    count: int = 5,
    order: NDArray[np.integer] | None = None,
) -> Prediction:
    """The `count` best classes of a score vector; equal scores keep the order of their index.

    `order`: exact numbers to go by, where scores are their rounded form.
    """
    best = np.argsort(-(scores if order is None else order), kind="stable")[:count]
    return Prediction(tuple(Score(label_of(int(i), labels), int(i), round(float(scores[i]), 6)) for i in best))


def label_of(index: int, labels: tuple[str, ...]) -> str:
    """A class's label, or its index as text where there is none."""
    return labels[index] if index < len(labels) else str(index)
