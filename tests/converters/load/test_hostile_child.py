"""Hostile model files against the confined process alone: loaded with no list of ours, and nothing comes of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from needs import needs

needs("torch", "onnx", "tensorflow", extras="the extras convert, onnx and keras")

from converters.load import hostile_advisories as advisories  # noqa: E402
from converters.load import hostile_implied as implied  # noqa: E402
from converters.load import hostile_sharing as sharing  # noqa: E402
from converters.load.hostile_others import CHANGED, OPERATORS, make_saved_models, other_files  # noqa: E402
from converters.load.hostile_torch import torch_files  # noqa: E402

from edgeguard.errors import DeviceError, InputError  # noqa: E402
from edgeguard.system.confine import Limits, Reach  # noqa: E402
from edgeguard.system.confined_child import ConfinedChild  # noqa: E402
from edgeguard.system.frames import Frame  # noqa: E402
from edgeguard.system.landlock import landlock_version  # noqa: E402

pytestmark = [
    pytest.mark.full,
    pytest.mark.convert,
    pytest.mark.skipif(
        landlock_version() == 0 and not os.environ.get("CI"),
        reason="this kernel has no Landlock: nothing confines",
    ),
]
TESTS = Path(__file__).parents[2]
LIMITS = Limits(memory_bytes=3 << 30, folder_bytes=200 << 20, cpu_s=60, wall_s=45.0)
ADVISORIES = (*advisories.TORCH, *advisories.KERAS, *advisories.ONNX, *advisories.TFLITE)
SHARING = (*sharing.TORCH, *sharing.KERAS, *implied.TORCH, *implied.LEFT_TO_THE_PROCESS)
FILES = [pytest.param(make, id=name) for name, _, make in (*torch_files(), *other_files(), *ADVISORIES, *SHARING)]


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder with them, and the file that they would write."""
    folder = tmp_path_factory.mktemp("saved")
    flag = tmp_path_factory.mktemp("flags") / "flag"
    make_saved_models(folder, flag)
    for left in flag.parent.iterdir():  # TensorFlow runs some of them while it saves
        left.unlink()
    return folder, flag


def _load(path: Path, *, confined: bool = True) -> str:
    """What became of it, in one line."""
    reach = Reach((path, TESTS))
    child = ConfinedChild("converters.load.unlisted:Unlisted", what="it", limits=LIMITS, reach=reach, confined=confined)
    with child:
        try:
            answer = child.ask(Frame({"path": str(path)}))
        except (InputError, DeviceError) as error:
            return str(error)
    return str(answer.fields.get("text", "loaded"))


@pytest.mark.parametrize("make", FILES)
def test_the_child_alone_holds(make, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in", flag)
    before = path.read_bytes()
    said = _load(path)
    assert "\n" not in said
    assert [p.name for p in tmp_path.iterdir()] == ["in"] and list((tmp_path / "in").iterdir()) == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize("operator", [*OPERATORS, *CHANGED])
def test_the_child_alone_holds_saved_models(saved_models: tuple[Path, Path], operator: str) -> None:
    folder, flag = saved_models
    assert "\n" not in _load(folder / operator)
    assert not list(flag.parent.iterdir())


@pytest.mark.parametrize(("operator", "said"), [*((one, "not on the list") for one in OPERATORS), *CHANGED.items()])
def test_the_lists_alone_refuse_saved_models(
    saved_models: tuple[Path, Path], operator: str, said: str, tmp_path: Path
) -> None:
    """In a process of its own: TensorFlow's protobufs do not enter this one."""
    folder, flag = saved_models
    code = (
        "import sys; from pathlib import Path; from edgeguard.errors import InputError\n"
        "from edgeguard_converters.load.saved_model import checked_copy\n"
        "try:\n    checked_copy(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except InputError as error:\n    print('refused:', error)\n"
    )
    command = [sys.executable, "-c", code, str(folder / operator), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("refused:") and said in done.stdout
    assert not list(tmp_path.iterdir())
    assert not list(flag.parent.iterdir())


@pytest.mark.parametrize(
    "name", ["pickled sample inputs", "name of an input", "(eval)", "file while loading", "bare pickle"]
)
def test_without_both_the_attacks_work(name: str, tmp_path: Path) -> None:
    """Else the tests above would show nothing."""
    make = next(make for found, _, make in torch_files() if name in found)
    flag = tmp_path / "flag"
    (tmp_path / "in").mkdir()
    _load(make(tmp_path / "in", flag), confined=False)
    assert flag.exists(), "the library no longer runs this: find the current attack"
