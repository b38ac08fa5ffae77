"""A .pt2 to fine-tune says labels and gives outputs of whatever form."""

import os
from typing import Any

import pytest

if not os.environ.get("CI"):
    pytest.importorskip("torch", reason="the convert extra is not installed")

import torch

from edgeguard.errors import InputError
from edgeguard.train import run
from edgeguard.train.config import TrainConfig

pytestmark = pytest.mark.convert


class _Answers(torch.nn.Module):
    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: torch.Tensor) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("labels", "answer", "said"),
    [
        (5, None, "no list of names"), ("ab", None, "no list of names"), (None, torch.zeros(2), "other outputs"),
        (None, torch.zeros(()), "other outputs"), (None, (torch.zeros(2, 2), torch.zeros(2, 2)), "other outputs"),
        (None, torch.zeros(2, 2, 1), "other outputs"), (None, [], "other outputs"), (None, 5, "other outputs"),
        (None, torch.zeros(2, 2, dtype=torch.int64), "other outputs"),
    ],
)  # fmt: skip
def test_programs_with_other_labels_or_outputs_are_refused(
    labels: object, answer: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "load_program", lambda *_: (_Answers(answer), {"labels": labels}))
    with pytest.raises(InputError, match=said):
        run._network(TrainConfig(network="m.pt2", data="d", size=32), ("a", "b"))
