"""What is told of the keys: JSON Schema, the documents' tables, the flags' help."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from jsonschema import Draft202012Validator
from typer.main import get_command
from typer.testing import CliRunner

from edgeguard.audio_training import config as sound_config
from edgeguard.cli import run as run_cli
from edgeguard.cli import train as train_cli
from edgeguard.cli.main import app
from edgeguard.dct import profile
from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError
from edgeguard.firmware import board
from edgeguard.run import settings as run_settings
from edgeguard.run.settings import Settings
from edgeguard.settings.declare import Key, keys_of
from edgeguard.settings.describe import json_schema, markdown_tables
from edgeguard.settings.reader import check_document
from edgeguard.train import config as train_config
from edgeguard.train.config import TrainConfig

ROOT = Path(__file__).parents[2]
DOCUMENTS = {
    "run": "run",
    "train": "training",
    "sound": "audio",
    "board": "sensors",
    "profile": "guard",
    "protocol": "evaluate",
}
FILES = [
    *(("train", path) for path in sorted((ROOT / "examples").glob("train-*.toml"))),
    ("sound", ROOT / "examples" / "sound-fsdd.toml"),
    *(("profile", ROOT / "examples" / name) for name in ("dc40.toml", "flat-8.toml")),
    *(("board", path) for path in sorted((ROOT / "firmware_configs").glob("*.toml"))),
    ("protocol", ROOT / "examples" / "frame-budgets.toml"),
    *(("protocol", path) for path in sorted((ROOT / "edgeguard/evaluate/protocols").glob("*.toml"))),
]


def _keys(name: str) -> dict[str, Key]:
    if name == "protocol":
        pytest.importorskip("torch", reason="protocols need torch, of the extras convert and attack")
        from edgeguard.evaluate import protocol

        return protocol.file_keys()
    files = {"run": run_settings, "train": train_config, "sound": sound_config, "board": board, "profile": profile}
    return files[name].file_keys()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_schema_is_one_and_describes_every_key(name: str) -> None:
    schema = json_schema(_keys(name), name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(schema)) == schema
    leaves = list(_leaves(schema))
    assert all(leaf.get("description") for leaf in leaves)
    assert name == "profile" or any("unit" in leaf or "anyOf" in leaf or "enum" in leaf for leaf in leaves)


def _leaves(schema: dict[str, Any]) -> Any:
    for one in schema["properties"].values():
        if "anyOf" in one and "properties" in one["anyOf"][0]:  # a table, or an array of them
            yield from _leaves(one["anyOf"][0])
            continue
        table = one.get("items") if one.get("type") == "array" else one
        if isinstance(table, dict) and "properties" in table:
            yield from _leaves(table)
        else:
            yield one


@pytest.mark.parametrize(("name", "path"), FILES, ids=[path.name for _, path in FILES])
def test_our_files_fit_their_schema(name: str, path: Path) -> None:
    data = tomllib.loads(path.read_text("utf-8"))
    assert list(Draft202012Validator(json_schema(_keys(name), name)).iter_errors(data)) == []


@pytest.mark.parametrize("name", ["run", "train"])
def test_reader_and_schema_agree_on_every_bound(name: str) -> None:
    validator = Draft202012Validator(json_schema(_keys(name), name))
    for table, one in _keys(name).items():
        for key in ({} if one.is_array else one.table or {}).values():
            values = [True, 3, 0.5, "", "a\nb", [], {}, "1280x720", "127.0.0.1:80", *key.choices]
            if key.low is not None and key.high is not None:
                values += [key.low, key.high, key.low - 1, key.high + 1]
            for value in values:
                data = {table: {key.name: value}}
                fits = validator.is_valid(data)
                try:
                    check_document(data, _keys(name), "f")
                    taken = True
                except InputError:
                    taken = False
                # What only the reader knows: which names are codecs, which ports there are.
                assert taken == fits or (fits and key.check is not None), (key.name, value)


def test_the_profile_that_is_written_fits_its_schema() -> None:
    validator = Draft202012Validator(json_schema(_keys("profile"), "profile"))
    for preset in ("fd", "fd-paper", "fd-jpeg", "jpeg:75", "proof-1"):
        assert validator.is_valid(GuardProfile.preset(preset).to_dict())
    flat = {"schema": 1, "color": "rgb", "tables": [8] * 64}
    assert validator.is_valid(flat) and GuardProfile.from_dict(flat).tables == ((8,) * 64,)
    for wrong in ([8] * 63, [0] * 64, [[8] * 64] * 2, [[8] * 64] * 4, [8.5] * 64, []):
        assert not validator.is_valid({**flat, "tables": wrong})


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_documents_list_the_keys_that_there_are(name: str) -> None:
    text = (ROOT / "docs" / f"{DOCUMENTS[name]}.md").read_text("utf-8")
    found = re.search(rf"<!-- keys of {name} -->\n(.*?)\n<!-- end of keys -->", text, re.DOTALL)
    assert found is not None
    assert found[1] == markdown_tables(_keys(name)), f"run: edgeguard config table {name}"


def _help(kind: type, name: str) -> str:
    return keys_of(kind)[name].help


def test_help_says_range_unit_and_default() -> None:
    assert _help(Settings, "lost_after") == "Seconds without a frame: lost. [0.2 to 3600 s; default 3]"
    assert _help(Settings, "threads") == "CPU threads of the model. [1 to 256, whole]"
    assert _help(Settings, "delegate") == "What computes. [auto, cpu, edgetpu; default auto]"
    assert _help(Settings, "guard") == "Preset, .toml profile or none, instead of the contract's."
    assert _help(TrainConfig, "learning_rate") == "Highest learning rate. [0.000001 to 10; default 0.2]"


@pytest.mark.parametrize(
    ("command", "kind", "names"),
    [
        (run_cli.run_command, Settings, {}),
        (train_cli.train_command, TrainConfig, {"model": "network", "adversarial": "method", "eps": "eps_8bit"}),
    ],
)
def test_flags_say_what_is_declared(command: Any, kind: type, names: dict[str, str]) -> None:
    alone = typer.Typer()
    alone.command()(command)
    keys = keys_of(kind)
    said = {names.get(str(one.name), str(one.name)): getattr(one, "help", None) for one in get_command(alone).params}
    flags = {name: text for name, text in said.items() if name in keys}
    assert flags == {name: _help(kind, name) for name in flags}
    assert kind is TrainConfig or set(flags) == set(keys)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_command_prints_the_schema_and_the_table(name: str) -> None:
    keys = _keys(name)
    schema = CliRunner().invoke(app, ["config", "schema", name])
    assert schema.exit_code == 0 and json.loads(schema.stdout) == json_schema(keys, f"EdgeGuard {name} file")
    table = CliRunner().invoke(app, ["config", "table", name])
    assert table.exit_code == 0 and table.stdout == markdown_tables(keys) + "\n"


def test_help_loads_no_library_of_settings() -> None:
    code = (
        "import sys; sys.argv = ['edgeguard', 'run', '--help']\n"
        "from edgeguard.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('HEAVY', sorted({'numpy', 'cv2', 'torch', 'msgspec', 'tomllib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"
    assert "[0.2 to 3600 s; default 3]" in " ".join(done.stdout.split())
