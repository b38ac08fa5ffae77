"""`edgeguard fleet`: the command lines, and what is refused in one line."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from cli.launch import refused
from commands import here

pytest.importorskip("tuf", reason="the extra fleet is not installed")
from edgeguard.demo.assets import bundled_model

CONFIG = '[camera]\nsource = "synthetic:cards?fps=20&width=320&height=240"\n'


@pytest.fixture
def golden(tmp_path: Path, scenes: list[Any]) -> Path:
    import cv2

    folder = tmp_path / "photos"
    folder.mkdir()
    for number, picture in enumerate(scenes):
        cv2.imwrite(str(folder / f"{number}.png"), picture[:, :, ::-1])
    return folder


def _bundle(tmp_path: Path, golden: Path, name: str = "cam-7.egb", config: str = CONFIG) -> list[object]:
    (tmp_path / "run.toml").write_text(config)
    return ["fleet", "bundle", "--model", bundled_model(), "--config", tmp_path / "run.toml", "--golden", golden,
            "--output", tmp_path / name]  # fmt: skip


def test_from_keys_to_a_device_that_waits_for_its_share(tmp_path: Path, golden: Path) -> None:
    keys, bundle, repository = tmp_path / "keys", tmp_path / "cam-7.egb", tmp_path / "repo"
    assert here("fleet", "keygen", keys).returncode == 0
    assert (keys / "root").stat().st_mode & 0o077 == 0 and (keys / "release.pub").read_bytes().startswith(b"-----BEGIN")
    made = here(*_bundle(tmp_path, golden))
    assert made.returncode == 0 and "8 golden images" in made.stdout, made.stderr
    refused(here("fleet", "publish", repository, bundle, "--keys", keys), 2, "cam-7.egb: the bundle is not signed")
    assert "1 signature" in here("fleet", "sign", bundle, "--key", keys / "release").stdout
    done = here("fleet", "publish", repository, bundle, "--share", "5", "--keys", keys)
    assert done.returncode == 0 and "cam-7: 5 % of the devices" in done.stdout, done.stderr
    assert "cam-7: halted" in here("fleet", "publish", repository, "--halt", "cam-7", "--keys", keys).stdout
    again = here("fleet", "publish", repository, "--resume", "cam-7", "--share", "100", "--keys", keys)
    assert "cam-7: 100 % of the devices" in again.stdout
    refused(here("fleet", "publish", repository, "--halt", "cam-9", "--keys", keys), 2, "cam-9 is not rolled out")
    refused(here("fleet", "keygen", keys), 2, "holds keys already")
    root = tmp_path / "device"
    words = ("fleet", "install", bundle, "--root", root)
    refused(here(*words), 2, "this device trusts nobody yet: edgeguard fleet join")
    joined = here("fleet", "join", "--root-metadata", keys / "root.json", "--device", "cam-hall", "--root", root)
    assert joined.returncode == 0 and json.loads((root / "device.json").read_bytes())["device"] == "cam-hall"
    assert (root / "identity" / "key").stat().st_mode & 0o077 == 0
    other = tmp_path / "other"
    assert here("fleet", "keygen", other, "--release-keys", "3", "--threshold", "2").returncode == 0
    lost = here("fleet", "join", "--root-metadata", other / "root.json", "--device", "cam-hall", "--root", root)
    refused(lost, 2, "trusts another root already")
    refused(here("fleet", "run", "--root", root), 3, "no bundle is installed")


@pytest.mark.parametrize(
    ("name", "config", "words"),
    [
        ("cam.egb", CONFIG, "a bundle is called NAME-VERSION.egb"),
        ("cam-7.zip", CONFIG, "a bundle is called NAME-VERSION.egb"),
        ("cam-0.egb", CONFIG, "bundle.json"),
        ("cam-7.egb", CONFIG + '[model]\nguard = "fd"\n', "guard cannot stand in a bundle's configuration"),
        ("cam-7.egb", "[web]\n", "source is missing"),
        ("cam-7.egb", CONFIG + "unknown = 1\n", "has no key 'unknown'"),
    ],
)
def test_bundles_that_cannot_be(tmp_path: Path, golden: Path, name: str, config: str, words: str) -> None:
    refused(here(*_bundle(tmp_path, golden, name, config)), 2, words)
    assert not (tmp_path / name).exists()


def test_too_few_golden_images(tmp_path: Path, golden: Path) -> None:
    (golden / "0.png").unlink()
    refused(here(*_bundle(tmp_path, golden)), 2, "8 golden images are wanted")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["agent", "--repository", "ftp://x", "--once"], "--repository wants http:// or https://"),
        (["agent", "--repository", "http://127.0.0.1:1", "--once"], "this device trusts nobody yet"),
        (["join", "--root-metadata", "no-such-file"], "cannot read the root metadata"),
        (["sign", "no-such-file", "--key", "no-such-key"], "cannot read the key"),
        (["keygen", "new", "--release-keys", "2", "--threshold", "3"], "3 of 2 release keys cannot be"),
        (["publish", "repo", "--share", "5"], "--share belongs to a bundle"),
        (["publish", "repo"], "cannot read the root metadata"),
        (["status", "--mqtt", "http://x"], "--mqtt wants mqtt://"),
        (["status", "--mqtt", "mqtt://127.0.0.1", "--web", "8081"], "--web wants HOST:PORT"),
        (["status", "--mqtt", "mqtt://127.0.0.1", "--web", "127.0.0.1:99999"], "--web has a port beyond 65535"),
        (["revoke", "cam-hall", "--devices", "no-such-file"], "does not belong to this fleet"),
        (["units", "--repository", "https://x/%n", "--folder", "."], "systemd wants a URL"),
    ],
)
def test_bad_usage_is_refused_in_one_line(
    line: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more = ["--root", str(tmp_path / "device")] if line[0] in ("agent", "join", "units") else []
    refused(here("fleet", *line, *more), 2, words)


def test_a_pipe_is_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the three waited for ever."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("cam-1.egb")
    for line in (
        ["keygen", "keys"],
        ["join", "--root-metadata", "keys/root.json", "--device", "a", "--root", "device"],
    ):
        assert here("fleet", *line).returncode == 0
    for line in (
        ["sign", "cam-1.egb", "--key", "keys/release"], ["publish", "repo", "cam-1.egb"],
        ["install", "cam-1.egb", "--root", "device"],
    ):  # fmt: skip
        refused(here("fleet", *line), 2, "copy the bundle into a plain file first")
    assert not Path("repo").exists()


def test_a_token_is_printed_once_and_for_one_device(tmp_path: Path) -> None:
    file = tmp_path / "devices.json"
    token = here("fleet", "enroll", "cam-hall", "--devices", file).stdout.strip()
    assert len(token) == 32 and token in file.read_text()
    assert here("fleet", "revoke", "cam-hall", "--devices", file).returncode == 0
    assert token not in file.read_text()


@pytest.mark.parametrize(
    ("broker", "more", "words"),
    [
        ("mqtt://127.0.0.1:9", ["--token-file", "short"], "a token has at least 16 characters"),
        ("mqtt://127.0.0.1:9", ["--token-file", "no-such-file"], "cannot read the token file"),
        ("mqtt://a@127.0.0.1:9", ["--token-file", "token", "--mqtt-password-file", "none"], "cannot read the password"),
        ("mqtts://127.0.0.1:9", ["--token-file", "token", "--mqtt-ca-file", "short"], "it holds no certificate"),
        ("http://127.0.0.1", ["--token-file", "token"], "--mqtt wants mqtt://"),
    ],
)  # fmt: skip
def test_a_device_that_cannot_enroll_does_not_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker: str, more: list[str], words: str
) -> None:
    """It joined first, and its folder stayed behind with a key that nobody expects."""
    pytest.importorskip("paho.mqtt.client", reason="the extra mqtt is not installed")
    monkeypatch.chdir(tmp_path)
    assert here("fleet", "keygen", "keys").returncode == 0
    Path("token").write_text("0123456789abcdef\n")
    Path("short").write_text("abc\n")
    line = ["join", "--root-metadata", "keys/root.json", "--device", "a", "--root", "device", "--mqtt", broker, *more]
    refused(here("fleet", *line), 2, words)
    assert not Path("device").exists()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("timestamp", "snapshot.json", "other.json"), ("snapshot", "targets.json", "other.json"),
        ("snapshot", "rollout.json", "other.json"), ("rollout", "rollout.json", "other.json"),
        ("rollout", '"sha256"', '"sha999"'),
    ],
)  # fmt: skip
def test_a_repository_that_lacks_a_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, old: str, new: str
) -> None:
    """Exit code 70."""
    monkeypatch.chdir(tmp_path)
    assert here("fleet", "keygen", "keys").returncode == 0
    assert here("fleet", "publish", "repo").returncode == 0
    (file,) = Path("repo/metadata").glob(f"*{name}.json")
    file.write_text(file.read_text().replace(old, new))
    refused(here("fleet", "publish", "repo"), 2, f"{name}.json is damaged")


def test_a_root_that_lacks_a_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 70."""
    monkeypatch.chdir(tmp_path)
    assert here("fleet", "keygen", "keys").returncode == 0
    root = json.loads(Path("keys/root.json").read_text())
    root["signed"]["keys"].pop(root["signed"]["roles"]["targets"]["keyids"][0])
    Path("keys/root.json").write_text(json.dumps(root))
    for line in (["keygen", "keys", "--replace", "release"], ["publish", "repo"]):
        refused(here("fleet", *line), 2, "root.json is damaged: the keys of the role targets are missing")


def test_what_somebody_else_wrote_into_a_repository_is_not_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever could write the web server's folder had the next publish sign his rollout, halted bundles among it."""
    monkeypatch.chdir(tmp_path)
    for line in (
        ["keygen", "keys"],
        ["keygen", "others"],
        ["publish", "repo"],
        ["publish", "theirs", "--keys", "others"],
    ):
        assert here("fleet", *line).returncode == 0
    refused(here("fleet", "publish", "theirs"), 2, "is not signed with the keys of keys: somebody else changed it")
    (rollout,) = Path("repo/targets").glob("*.rollout.json")
    kept = rollout.read_bytes()
    rollout.write_bytes(kept.replace(b'"serial": 2', b'"serial": 9'))
    assert rollout.read_bytes() != kept
    refused(here("fleet", "publish", "repo"), 2, "the repository repo is damaged")
    rollout.write_bytes(kept)
    (targets,) = Path("repo/metadata").glob("*.targets.json")
    kept = targets.read_bytes()
    targets.write_bytes(kept.replace(b'"expires"', b'"expired": 1, "expires"'))
    refused(here("fleet", "publish", "repo"), 2, "targets.json is damaged")
    targets.write_bytes(kept)
    for key in ("release", "online"):
        assert here("fleet", "keygen", "keys", "--replace", key).returncode == 0
        assert here("fleet", "publish", "repo").returncode == 0
