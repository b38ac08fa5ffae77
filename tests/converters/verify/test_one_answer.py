"""Gates that pass because all images get one answer say so."""

from dataclasses import replace

import numpy as np
import pytest

from edgeguard.model.contract import Contract, Detection, InputSpec

pytestmark = pytest.mark.convert
pytest.importorskip("ai_edge_quantizer", reason="the convert extra is not installed")

from edgeguard_converters.verify.one_answer import one_answer_line  # noqa: E402

CLASSIFIER = Contract(input=InputSpec(width=8, height=8), labels=("stop", "yield", "other"))


def _scores(*best: int) -> tuple[np.ndarray, ...]:
    scores = np.random.default_rng(1).uniform(0, 1, (len(best), 3)).astype(np.float32)
    scores[np.arange(len(best)), list(best)] = 2
    return (scores,)


def test_one_class_for_all_is_said() -> None:
    said = one_answer_line(_scores(*[1] * 12), CLASSIFIER, None)
    assert said is not None and said.startswith("ALL 12 GATE IMAGES ARE 'yield' TO THE MODEL")
    unnamed = one_answer_line(_scores(*[1] * 12), replace(CLASSIFIER, labels=()), np.arange(12) % 3)
    assert unnamed is not None and "ARE class 1 TO" in unnamed


def test_two_classes_few_images_and_a_right_class_are_not() -> None:
    assert one_answer_line(_scores(*[1] * 11, 2), CLASSIFIER, None) is None
    assert one_answer_line(_scores(*[1] * 9), CLASSIFIER, None) is None
    assert one_answer_line(_scores(*[1] * 12), CLASSIFIER, np.ones(12, np.int64)) is None


@pytest.mark.parametrize(("score", "is_said"), [(0.01, True), (0.9, False)])
def test_a_detector_that_finds_nothing(score: float, is_said: bool) -> None:
    contract = Contract(
        input=InputSpec(width=8, height=8), task="detect", labels=("a", "b"), outputs="probabilities",
        detection=Detection(boxes="xyxy", units="relative"),
    )  # fmt: skip
    boxes = np.tile(np.array([0.1, 0.1, 0.6, 0.6], np.float32), (12, 5, 1))
    scores = np.full((12, 5, 2), 0.01, np.float32)
    scores[7, 2, 1] = score
    line = one_answer_line((boxes, scores), contract, None)
    assert (line is not None and line.startswith("THE MODEL FINDS NOTHING IN ANY OF 12")) is is_said
