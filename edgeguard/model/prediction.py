"""What a classifier said, ready for people and JSON."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Score:
    """One class: its label (the index as text where there is none), the raw output index, and a score 0..1."""

    label: str
    index: int
    score: float


@dataclass(frozen=True)
class Prediction:
    """The classes with the highest scores, best first."""

    top: tuple[Score, ...]

    @property
    def label(self) -> str:
        """The best class's label."""
        return self.top[0].label

    @property
    def index(self) -> int:
        """The best class's raw output index."""
        return self.top[0].index

    @property
    def score(self) -> float:
        """The best class's score."""
        return self.top[0].score


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float32)


def rank(scores: NDArray[np.float32], labels: tuple[str, ...], count: int = 5) -> Prediction:
    """The `count` best classes of a score vector; equal scores keep the order of their index."""
    best = np.argsort(-scores, kind="stable")[:count]
    return Prediction(
        tuple(Score(labels[i] if i < len(labels) else str(i), int(i), round(float(scores[i]), 6)) for i in best)
    )
