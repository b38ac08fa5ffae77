"""Which folder is which class: what does not fit the model's labels is refused, never guessed."""

from pathlib import Path

import pytest

from edgeguard.datasets.classes import Classes, is_left_out, map_folders
from edgeguard.errors import InputError

HERE = Path("photos")
PETS = Classes.of(("background", "cat", "dog", "guinea pig"), outputs=4)


def _pairs(names: list[str], classes: Classes) -> dict[str, int]:
    return dict(map_folders(HERE, names, classes).pairs)


def test_the_background_is_no_class() -> None:
    assert Classes(("cat", "dog", "guinea pig"), 3) == PETS
    assert Classes.of(("???", "cat"), outputs=2, background=True) == Classes(("cat",), 1)
    assert Classes.of((), outputs=1001, background=True) == Classes((), 1000)
    assert Classes.of(("a", "b"), outputs=7) == Classes((), 7), "labels that do not fit the outputs name nothing"


def test_folders_by_name_whatever_their_case() -> None:
    assert _pairs(["dog", "cat"], PETS) == {"cat": 0, "dog": 1}
    assert _pairs(["Guinea_Pig", "CAT"], PETS) == {"CAT": 0, "Guinea_Pig": 2}
    assert map_folders(HERE, ["cat"], PETS).line == "classes: folders by the model's labels: 1 class: cat = 0"


def test_many_names_of_many_labels_are_found_at_once() -> None:
    """65,000 labels and as many folders: compared one by one they would take hours."""
    names = [f"Class-{number}" for number in range(65_000)]
    classes = Classes(tuple(f"class {number}" for number in range(65_000)), 65_000)
    assert _pairs(names, classes)["Class-64999"] == 64_999
    twice = Classes(("cat", "Cat", "dog", "dog"), 4)
    assert [twice.index_of(name) for name in ("cat", "CAT", "dog", "cow")] == [0, None, None, None]


def test_numbers_are_indices() -> None:
    assert _pairs(["0", "2"], PETS) == {"0": 0, "2": 2}
    assert _pairs(["10", "9"], Classes()) == {"9": 9, "10": 10}, "not by the order of names"
    assert _pairs(["30", "50"], Classes(("20", "30", "50"), 3)) == {"30": 1, "50": 2}, "labels that look like numbers"


@pytest.mark.parametrize(
    ("names", "classes", "said"),
    [
        (["cat", "mouse", "dog"], PETS, "no label of the model fits the folder mouse; its labels are cat, dog, guinea"),
        (["0", "3"], PETS, "there is no class 3: the model has 3 classes, 0 to 2"),
        (["0", "cat"], PETS, "no label of the model fits the folder 0"),
        (["1", "2"], Classes(("1", "2", "3"), 3), "the folder 1 is class 0 by the model's labels and class 1 by its"),
        (["crane"], Classes(("crane", "tench", "crane"), 3), "several of the model's classes are called crane"),
        (["a", "b"], Classes((), 1000), "has 2 class folders, the model 1000 classes and no labels"),
        (["train", "val"], Classes((), 2), "photos holds the parts train, val of a data set"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(names: list[str], classes: Classes, said: str) -> None:
    with pytest.raises(InputError) as caught:
        map_folders(HERE, names, classes)
    assert said in str(caught.value)


def test_the_order_of_names_counts_only_where_nothing_else_can() -> None:
    found = map_folders(HERE, ["a", "b"], Classes((), 2))
    assert found.how == "order" and "check it" in found.line
    assert map_folders(HERE, ["a", "b"], Classes()).how == "order"


def test_what_systems_leave_behind() -> None:
    assert all(map(is_left_out, (".ipynb_checkpoints", ".DS_Store", "._1.jpg", "__MACOSX", "lost+found")))
    assert not any(map(is_left_out, ("cat", "_cat", "Trash")))
