"""`.`, `..`, `/` and nothing, wherever a command takes a file: a line that says what is wrong, and no bug of ours."""

from pathlib import Path

import pytest
from commands import here

from edgeguard.demo.assets import bundled_model

pytest.importorskip("cryptography", reason="the data extra is not installed")

MODEL = str(bundled_model())
LINES = [
    "data keygen {}",
    "data manifest {} --output {}",
    "data verify . --manifest {}",
    "data croissant {} --output {}",
    "model show {}",
    "model verify {} --manifest {}",
    "config check {}",
    "guard show {}",
    "guard show fd-jpeg --output {}",
    "guard apply {} --output {}",
    "patch check {} --sheet {}",
    "patch sheet --card stop --output {}",
    "fieldtest plan session {} --passes 2",
    "fieldtest report {} --output {}",
    f"run {MODEL} --source {{}} --output {{}}",
    f"run {MODEL} --source {{}} --save {{}}",
    "evaluate compare {} {}",
    "bench {} --image {} --seconds 0.1",
]


@pytest.mark.parametrize("place", [".", "..", "/", ""])
@pytest.mark.parametrize("line", LINES)
def test_it_is_refused_in_one_line(line: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "above" / "in"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    if line == "data keygen {}" and place in (".", ".."):  # the pair is named after the folder, and lies beside it
        assert here("data", "keygen", place).returncode == 0
        assert sorted(path.suffix for path in tmp_path.rglob("*.*")) == [".key", ".pub"]
        return
    done = here(*(word.replace("{}", place) for word in line.split()))
    assert done.returncode in (2, 3), done
    assert place or "it is empty" in done.stderr or line.startswith(("run", "guard show"))  # these take texts
    assert "bug of ours" not in done.stderr and "Traceback" not in done.stderr
    assert not list(folder.iterdir()) and len(list(tmp_path.rglob("*"))) == 2
