"""Beside others: python-tuf's own client and repository, openssl, and a zip library."""

import base64
import json
import subprocess
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from programs import needed

pytest.importorskip("tuf", reason="the extra fleet is not installed")
from fleet.fleets import FakeService, Fleet, Server, files_of, well
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import Updater as TufUpdater

from edgeguard.errors import InputError
from edgeguard.fleet.agent import Updater
from edgeguard.fleet.fetch import Fetcher
from edgeguard.fleet.manifest import moment_text
from edgeguard.fleet.state import read_state
from edgeguard.fleet.trust import Offer
from edgeguard.fleet.workstation.keys import load_signer
from edgeguard.fleet.workstation.publish import _read, _write, read_rollout


def test_python_tufs_client_takes_our_repository(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.publish(fleet.bundle(1))
    bundle = fleet.bundle(2)
    fleet.publish(bundle, share=5)
    trusted, targets = tmp_path / "trusted", tmp_path / "targets"
    trusted.mkdir()
    targets.mkdir()
    with Server(fleet.repository.folder) as server:
        client = TufUpdater(
            str(trusted), f"{server.url}/metadata/", str(targets), f"{server.url}/targets/",
            bootstrap=(fleet.keys / "root.json").read_bytes(),
        )  # fmt: skip
        client.refresh()
        info = client.get_targetinfo("bundles/cam-2.egb")
        assert info is not None
        assert Path(client.download_target(info)).read_bytes() == bundle.read_bytes()
        rollout = client.get_targetinfo("rollout.json")
        assert rollout is not None
        offers = json.loads(Path(client.download_target(rollout)).read_bytes())["bundles"]
    assert [(offer["version"], offer["share"]) for offer in offers] == [(1, 100.0), (2, 5.0)]


def test_our_agent_takes_a_repository_that_python_tuf_writes(tmp_path: Path) -> None:
    """Only python-tuf's classes write it; there is no delegation, as in most repositories."""
    fleet, now = Fleet(tmp_path), datetime.now(UTC)
    layout, device = fleet.device()
    bundle, expires = fleet.bundle(3), now + timedelta(days=1)
    offer = {"target": "cams/cam-3.egb", "name": "cam", "version": 3}
    rollout = json.dumps({"schema": 1, "serial": 1, "created": moment_text(now), "bundles": [offer]}).encode()
    folder = tmp_path / "other"
    targets, snapshot, timestamp = Targets(expires=expires), Snapshot(expires=expires), Timestamp(expires=expires)
    for name, data in (("cams/cam-3.egb", bundle.read_bytes()), ("rollout.json", rollout)):
        info = TargetFile.from_data(name, data, ["sha256"])
        targets.targets[name] = info
        for path in info.get_prefixed_paths():
            (folder / "targets" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "targets" / path).write_bytes(data)
    (folder / "metadata").mkdir()
    snapshot.meta["targets.json"] = MetaFile(1)
    timestamp.snapshot_meta = MetaFile(1)
    for name, signed, key in (
        ("1.targets.json", targets, "release"), ("1.snapshot.json", snapshot, "online"),
        ("timestamp.json", timestamp, "online"),
    ):  # fmt: skip
        metadata = Metadata(signed)  # type: ignore[type-var]  # of a kind that it does not know
        metadata.sign(load_signer(fleet.keys / key))
        metadata.to_file(str(folder / "metadata" / name))
    with Server(folder) as server:
        updater = Updater(layout, device, FakeService(well(layout)), golden=lambda folder: None)
        assert updater.look(server.url, Fetcher()).kind == "updated"
    current = read_state(layout).current
    assert current is not None and current.version == 3


def test_openssl_verifies_a_bundles_signature(tmp_path: Path) -> None:
    openssl = needed("openssl")
    fleet = Fleet(tmp_path)
    with zipfile.ZipFile(fleet.bundle(1)) as archive:
        envelope = json.loads(archive.read("bundle.sig"))
        assert base64.b64decode(envelope["payload"]) == archive.read("bundle.json")
        assert archive.testzip() is None and archive.read("model.tflite") == files_of(1)["model.tflite"]
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    (tmp_path / "message").write_bytes(message)
    (tmp_path / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    command: list[str | Path] = [
        openssl,
        "pkeyutl",
        "-verify",
        "-rawin",
        "-pubin",
        "-inkey",
        fleet.keys / "release.pub",
        "-in",
    ]
    words: list[str | Path] = [*command, tmp_path / "message", "-sigfile", tmp_path / "signature"]
    good = subprocess.run(words, capture_output=True, text=True, check=False)
    assert good.returncode == 0 and "Signature Verified Successfully" in good.stdout
    (tmp_path / "message").write_bytes(message + b" ")
    assert subprocess.run(words, capture_output=True, check=False).returncode != 0


def test_update_traffic_is_the_bundle_and_little_more(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    layout, device = fleet.device()
    bundle = fleet.bundle(1)
    fleet.publish(bundle)
    fetcher = Fetcher()
    with Server(fleet.repository.folder) as server:
        Updater(layout, device, FakeService(well(layout)), golden=lambda folder: None).look(server.url, fetcher)
    assert fetcher.received - bundle.stat().st_size <= 20_000


def test_a_broken_download_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    import http.server

    from edgeguard.errors import DeviceError

    fleet = Fleet(tmp_path)
    layout, device = fleet.device()
    bundle = fleet.bundle(1)
    fleet.publish(bundle)
    data, ranges = bundle.read_bytes(), list[str | None]()
    updater = Updater(layout, device, FakeService(well(layout)), golden=lambda folder: None)
    with Server(fleet.repository.folder) as server:

        def half(path: str, handler: http.server.BaseHTTPRequestHandler) -> bool:
            if ".egb" not in path:
                return False
            ranges.append(handler.headers.get("Range"))
            if ranges[-1] is not None:
                return False
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(data[:2000])
            return True

        server.spoil = half
        with pytest.raises(DeviceError, match="goes on with the next try"):
            updater.look(server.url, Fetcher())
        assert updater.look(server.url, Fetcher()).kind == "updated"
    assert ranges == [None, "bytes=2000-"]


def test_old_bundles_leave_the_metadata(tmp_path: Path) -> None:
    """With each bundle that ever was in the rollout, devices refused it after the 256th, and loaded more each time."""
    fleet, sizes = Fleet(tmp_path), list[int]()
    for version in range(1, 13):
        fleet.publish(fleet.bundle(version))
        files = [fleet.repository.metadata / f"{version}.{role}.json" for role in ("targets", "rollout", "snapshot")]
        sizes.append(sum(path.stat().st_size for path in files))
    assert sizes[-1] <= sizes[4] + 100, sizes
    layout, device = fleet.device()
    updater = Updater(layout, device, FakeService(well(layout)), golden=lambda folder: None)
    with Server(fleet.repository.folder) as server:
        assert updater.look(server.url, Fetcher()).text == "cam-12 runs and is well"
    rollout = read_rollout(fleet.repository, datetime.now(UTC))
    assert [offer.version for offer in rollout.bundles] == [9, 10, 11, 12]
    many = [Offer(f"bundles/other{n}-1.egb", f"other{n}", 1) for n in range(300)]
    with pytest.raises(InputError, match="300 bundles are more than devices take"):
        _write(fleet.repository, _read(fleet.repository, datetime.now(UTC)), None, many, datetime.now(UTC))
