"""Where a classifier can be trusted: how sure it is where it is right, and how unsure where it is wrong.

question-answer trust, trust density, trust spectrum, NetTrustScore   Wong et al. 2020, arXiv 2009.05835
trust matrix                                                          Hryniowski et al. 2020, arXiv 2009.14701
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.images import read_labeled_folder
from edgeguard.datasets.readable import readable
from edgeguard.errors import InputError
from edgeguard.model import load_model
from edgeguard.model.contract import require_classifier
from edgeguard.model.prediction import label_of, softmax

_GRID = 21  # of a density, 0..1
_ROUNDS = 1000  # of the bootstrap
_NAMED = 5


@dataclass(frozen=True, eq=False)
class Trust:
    """Trust of one model on labelled images.

    Attributes:
        labels: of the classes, by output index.
        truth, answers: (n,) output indices.
        trust: (n,) question-answer trust, 0..1.
    """

    labels: tuple[str, ...]
    truth: NDArray[np.int64]
    answers: NDArray[np.int64]
    trust: NDArray[np.float64]

    @property
    def net(self) -> float:
        """NetTrustScore: the mean over classes, each weighted by how often it is asked, so the mean of all."""
        return float(self.trust.mean())

    @property
    def net_interval(self) -> tuple[float, float]:
        """Its 95 % interval over images (bootstrap, seed fixed)."""
        chosen = np.random.default_rng(0).integers(0, len(self.trust), (_ROUNDS, len(self.trust)))
        low, high = np.percentile(self.trust[chosen].mean(axis=1), [2.5, 97.5])
        return float(low), float(high)

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float((self.truth == self.answers).mean())

    def spectrum(self) -> dict[int, tuple[float, int]]:
        """Of each class that was asked: its mean trust, and how many images it has; lowest first."""
        found = {int(c): (float(self.trust[self.truth == c].mean()), int((self.truth == c).sum()))
                 for c in np.unique(self.truth)}  # fmt: skip
        return dict(sorted(found.items(), key=lambda item: (item[1][0], item[0])))

    def matrix(self) -> dict[tuple[int, int], tuple[float, int]]:
        """Of each pair of right class and answer that occurred: mean trust and how often; lowest first."""
        found = {}
        for pair in sorted(set(zip(self.truth.tolist(), self.answers.tolist(), strict=True))):
            there = (self.truth == pair[0]) & (self.answers == pair[1])
            found[pair] = (float(self.trust[there].mean()), int(there.sum()))
        return dict(sorted(found.items(), key=lambda item: (item[1][0], item[0])))

    def density(self, index: int) -> NDArray[np.float64]:
        """A class's trust density at 21 points from 0 to 1: a Gaussian kernel of Scott's width, mirrored at both ends.

        Its integral over 0..1 is 1.
        """
        values = self.trust[self.truth == index]
        width = max(float(values.std()) * len(values) ** -0.2, 0.02)
        grid = np.linspace(0, 1, _GRID)
        mirrored = np.concatenate([values, -values, 2 - values])
        kernels = np.exp(-(((grid[:, None] - mirrored) / width) ** 2) / 2) / (width * np.sqrt(2 * np.pi))
        return np.asarray(kernels.sum(axis=1) / len(values))

    def lines(self) -> list[str]:
        """For the terminal."""
        low, high = self.net_interval
        told = [
            f"NetTrustScore {self.net:.3f} [{low:.3f}, {high:.3f}], accuracy {100 * self.accuracy:.1f} %, "
            f"n = {len(self.trust)}"
        ]
        for index, (mean, count) in list(self.spectrum().items())[:_NAMED]:
            told.append(f"class   {mean:.3f}  {self._name(index)}, n = {count}")
        wrong = [(pair, found) for pair, found in self.matrix().items() if pair[0] != pair[1]]
        for (truth, answer), (mean, count) in wrong[:_NAMED]:
            told.append(f"errors  {mean:.3f}  {self._name(truth)} taken for {self._name(answer)}, {count} times")
        told.append("Lowest first: there the model errs and is sure of it, and there a small change may be enough.")
        return told

    def to_dict(self) -> dict[str, object]:
        """As plain data."""
        low, high = self.net_interval
        return {
            "schema": 1, "n": len(self.trust), "accuracy": self.accuracy,
            "net_trust_score": self.net, "low": low, "high": high,
            "spectrum": [
                {"label": self._name(c), "index": c, "trust": mean, "n": count,
                 "density": [round(float(value), 4) for value in self.density(c)]}
                for c, (mean, count) in self.spectrum().items()
            ],
            "matrix": [
                {"truth": self._name(t), "answer": self._name(a), "trust": mean, "n": count}
                for (t, a), (mean, count) in self.matrix().items()
            ],
        }  # fmt: skip

    def _name(self, index: int) -> str:
        return label_of(index, self.labels)


def question_answer_trust(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], alpha: float = 1.0, beta: float = 1.0
) -> NDArray[np.float64]:
    """Trust of each answer: confidence**alpha where it is right, (1 - confidence)**beta where it is wrong.

    Args:
        confidence: (n,) of the answers given, 0..1.
        right: (n,).
        alpha, beta: how much being sure is rewarded, and punished.

    Example:
        >>> question_answer_trust(np.array([0.9, 0.9]), np.array([True, False])).round(3).tolist()
        [0.9, 0.1]
    """
    return np.where(right, confidence**alpha, (1 - confidence) ** beta)


def trust_of(
    model: Path,
    images: Path,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    limit: int | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Trust:
    """Ask a deployed classifier about labelled images, through its own guard.

    Args:
        model: a .tflite.
        images: class folders, or a folder with labels.csv.
        alpha, beta: see `question_answer_trust`.
        limit: the first so many of a fixed order; all by default.
        progress: called with what is being done, images done and images in all.

    Raises:
        InputError: no such model or images, no classifier, or scores that are no numbers.
    """
    deployed = load_model(model)
    contract = deployed.contract
    require_classifier(contract, f"{model}: trust")
    known = read_labeled_folder(images, contract.labels, outputs=deployed.classes, background=contract.background)
    order = np.random.default_rng(0).permutation(len(known))[:limit]
    chosen = readable([known[k] for k in order], images)
    truth, scores = list[int](), list[NDArray[np.float32]]()
    for number, image in enumerate(chosen, start=1):
        path = deployed.input_path
        outputs = deployed.infer(path(path.capture(image.content())).tensor)
        if not np.isfinite(outputs).all():
            raise InputError(f"{model}: not all scores of {image.name} are finite numbers")
        scores.append(softmax(outputs) if contract.outputs == "logits" else outputs)
        truth.append(int(image.label or 0) + int(contract.background))
        progress("images", number, len(chosen))
    return trust_of_scores(contract.labels, np.array(truth), np.stack(scores), alpha=alpha, beta=beta)


def trust_of_scores(
    labels: Sequence[str],
    truth: NDArray[np.int64],
    scores: NDArray[np.float32],
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
) -> Trust:
    """Trust of answers that are known: (n,) right output indices, and (n, classes) probabilities."""
    answers = scores.argmax(axis=1)
    confidence = np.clip(scores.max(axis=1).astype(np.float64), 0, 1)
    found = question_answer_trust(confidence, answers == truth, alpha, beta)
    return Trust(tuple(labels), truth, answers, found)
