from edgeguard.model.prediction import Prediction, Score
from edgeguard.pipeline.heard import Heard, HeardSettings


def _said(**scores: float) -> Prediction:
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    return Prediction(tuple(Score(label, i, score) for i, (label, score) in enumerate(ranked)))


def _through(*windows: Prediction, level: float = -20.0) -> list[str | None]:
    heard = Heard(HeardSettings(on=0.6, off=0.4, quiet_dbfs=-50))
    return [heard.update(one, level_dbfs=level, continues=i > 0) for i, one in enumerate(windows)]


def test_a_label_holds_between_the_two_thresholds() -> None:
    assert _through(_said(a=0.9), _said(a=0.3, b=0.5), _said(a=0.5), _said(a=0.1), _said(a=0.1)) == [
        "a", "a", "a", None, None,
    ]  # fmt: skip


def test_one_window_of_another_label_does_not_replace_it() -> None:
    assert _through(_said(a=1.0), _said(a=1.0), _said(b=0.9), _said(a=1.0)) == ["a", "a", "a", "a"]


def test_another_label_that_stays_does() -> None:
    assert _through(_said(a=1.0), _said(b=1.0), _said(b=1.0))[-1] == "b"


def test_below_the_threshold_nothing_holds() -> None:
    assert _through(_said(a=0.5, b=0.5)) == [None]


def test_silence_forgets() -> None:
    heard = Heard(HeardSettings())
    assert heard.update(_said(a=1.0), level_dbfs=-20, continues=False) == "a"
    assert heard.update(_said(a=1.0), level_dbfs=-60, continues=True) is None
    assert heard.update(_said(a=0.5), level_dbfs=-20, continues=True) is None


def test_windows_that_do_not_follow_each_other_share_nothing() -> None:
    heard = Heard(HeardSettings())
    heard.update(_said(a=1.0), level_dbfs=-20, continues=False)
    assert heard.update(_said(a=0.5), level_dbfs=-20, continues=False) is None
