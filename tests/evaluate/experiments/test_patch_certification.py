"""Double masking over photographs, in processes, against asking it here one by one."""

from pathlib import Path

import pytest

from edgeguard.datasets.images import read_labeled_folder
from edgeguard.errors import InputError
from edgeguard.evaluate.engine.targets import Target
from edgeguard.evaluate.experiments.patch_certification import CertifyJob, certified_accuracy, run_certify
from edgeguard.model import load_model
from edgeguard.patchguard.double_masking import MaskSet


@pytest.mark.full
def test_photographs_are_certified(card_model: Path, card_images: Path) -> None:
    shown = list[tuple[str, int, int]]()
    found = certified_accuracy(
        card_model, card_images, patch_share=0.01, per_axis=2, workers=1, progress=lambda *told: shown.append(told)
    )
    contract = load_model(card_model).contract
    masks, target = MaskSet(contract.input.width, 13, 2), Target(str(card_model), "input")
    images = read_labeled_folder(card_images, contract.labels)
    one_by_one = [
        run_certify(CertifyJob(target, masks, str(image.data), int(image.label or 0) + int(contract.background)))
        for image in images
    ]
    assert (found.n, found.patch_px, found.masks) == (len(images), 13, 4)
    assert (found.undefended, found.defended, found.certified) == tuple(
        sum(one[column] for one in one_by_one) for column in range(3)
    )
    assert found.undefended > len(images) / 2 and found.certified <= found.defended and found.queries >= 4
    assert shown == [("certifying", done, len(images)) for done in range(1, len(images) + 1)]
    assert f"n {len(images)}" in found.lines()[1]


def test_what_cannot_be_certified(card_images: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the model"):
        certified_accuracy(tmp_path / "none.tflite", card_images)
