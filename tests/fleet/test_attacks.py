"""The attack table: what a stranger serves, sends or puts on a stick is refused in one line, and nothing changes."""

import http.server
import io
import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("tuf", reason="the extra fleet is not installed")
from fleet.fleets import FakeService, Fleet, Server, files_of, manifest_of, snapshot, well

from edgeguard.errors import CheckFailed, DeviceError, EdgeGuardError, InputError
from edgeguard.fleet.agent import Updater
from edgeguard.fleet.fetch import Fetcher
from edgeguard.fleet.identity import Device
from edgeguard.fleet.layout import Layout
from edgeguard.fleet.state import read_state
from edgeguard.fleet.workstation.keys import replace_key
from edgeguard.fleet.workstation.publish import _read, _write  # a repository that its own rules would not write
from edgeguard.system.files import sha256_file


@dataclass
class Case:
    """A device that runs cam-7 of a fleet, and what an attacker does."""

    fleet: Fleet
    layout: Layout
    device: Device
    server: Server
    now: datetime

    def look(self, device: Device | None = None) -> str:
        updater = self.updater(device)
        return updater.look(self.server.url, Fetcher(grace_s=0.5, silence_s=1.0)).kind

    def install(self, bundle: Path) -> str:
        return self.updater().install(bundle).kind

    def updater(self, device: Device | None = None) -> Updater:
        service = FakeService(well(self.layout))
        return Updater(self.layout, device or self.device, service, golden=lambda folder: None, now=lambda: self.now)

    @property
    def repository(self) -> Path:
        return self.fleet.repository.folder

    def serve_again(self, old: Path) -> None:
        """Serve an older copy of the repository."""

        def spoil(path: str, handler: http.server.BaseHTTPRequestHandler) -> bool:
            file = old / path.lstrip("/")
            if not file.is_file():
                return False
            _answer(handler, file.read_bytes())
            return True

        self.server.spoil = spoil


def _answer(handler: http.server.BaseHTTPRequestHandler, data: bytes, kind: str = "application/octet-stream") -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def _bundles(case: Case, answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> None:
    def spoil(path: str, handler: http.server.BaseHTTPRequestHandler) -> bool:
        if ".egb" not in path:
            return False
        answer(handler)
        return True

    case.server.spoil = spoil


def _metadata(case: Case, name: str, change: Callable[[dict], None] | bytes) -> None:
    """Serve one metadata file changed."""

    def spoil(path: str, handler: http.server.BaseHTTPRequestHandler) -> bool:
        if name not in path:
            return False
        if isinstance(change, bytes):
            _answer(handler, change, "text/html")
            return True
        found = json.loads((case.repository / path.lstrip("/")).read_bytes())
        change(found)
        _answer(handler, json.dumps(found).encode())
        return True

    case.server.spoil = spoil


def unsigned(case: Case) -> None:
    case.install(case.fleet.bundle(8, ""))


def unsigned_metadata(case: Case) -> None:
    _metadata(case, "timestamp.json", lambda found: found.update(signatures=[]))
    case.look()


def wrong_key(case: Case) -> None:
    case.install(case.fleet.bundle(8, "online"))


def wrong_key_on_metadata(case: Case) -> None:
    other = Fleet(case.fleet.folder / "other")
    other.publish(other.bundle(8))
    case.serve_again(other.repository.folder)
    case.look()


def revoked_key(case: Case) -> None:
    signed = case.fleet.bundle(8).read_bytes()
    replace_key(case.fleet.keys, "release", case.now)
    case.fleet.publish(now=case.now)
    assert case.look() == "current"  # the device learns of it
    stick = case.fleet.folder / "cam-8.egb"
    stick.write_bytes(signed)
    case.install(stick)


def too_few_signatures(case: Case) -> None:
    fleet = Fleet(case.fleet.folder / "two", release_keys=3, threshold=2)
    layout, device = fleet.device()
    Case(fleet, layout, device, case.server, case.now).install(fleet.bundle(8, "release-3"))


def older_version(case: Case) -> None:
    case.install(case.fleet.bundle(6))


def older_metadata(case: Case) -> None:
    old = snapshot(case.repository)
    case.fleet.publish(now=case.now)
    assert case.look() == "current"
    case.serve_again(old)
    case.look()


def older_metadata_after_a_power_cut_emptied_ours(case: Case) -> None:
    old = snapshot(case.repository)
    case.fleet.publish(now=case.now)
    assert case.look() == "current"
    for name in ("timestamp", "snapshot", "targets", "rollout"):
        (case.layout.trusted / f"{name}.json").write_bytes(b"")
    case.serve_again(old)
    case.look()


def expired_bundle(case: Case) -> None:
    case.install(case.fleet.bundle(8, expires="2026-01-01T00:00:00Z"))


def expired_metadata(case: Case) -> None:
    late = Fleet(case.fleet.folder / "late", now=case.now - timedelta(days=60))
    layout, device = late.device()
    late.publish(late.bundle(8), now=case.now - timedelta(days=60))
    case.serve_again(late.repository.folder)
    Case(late, layout, device, case.server, case.now).look()


def mixed_files(case: Case) -> None:
    old = snapshot(case.repository)
    case.fleet.publish(case.fleet.bundle(8), now=case.now)
    mixed = (old / "metadata" / "1.targets.json").read_bytes()
    _metadata(case, "2.targets.json", lambda found: found.update(json.loads(mixed)))
    case.look()


def mixed_files_in_a_bundle(case: Case) -> None:
    """The signature of one bundle before the files of another."""
    from edgeguard.fleet.archive import read_signature
    from edgeguard.fleet.envelope import read_envelope
    from edgeguard.fleet.workstation.build import write_bundle

    with open(case.fleet.bundle(8), "rb") as stream:
        signature = read_signature(stream)
    path = case.fleet.folder / "cam-9.egb"
    write_bundle(path, signature, read_envelope(signature).payload, files_of(9))
    case.install(path)


def larger_than_said(case: Case) -> None:
    bundle = case.fleet.bundle(8)
    case.fleet.publish(bundle, now=case.now)
    data = bundle.read_bytes() + bytes(1000)
    _bundles(case, lambda handler: _answer(handler, data))
    case.look()


def larger_than_said_on_a_stick(case: Case) -> None:
    bundle = case.fleet.bundle(8)
    bundle.write_bytes(bundle.read_bytes() + bytes(1000))
    case.install(bundle)


def endless(case: Case) -> None:
    case.fleet.publish(case.fleet.bundle(8), now=case.now)

    def pour(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(4096):
            handler.wfile.write(bytes(1 << 16))

    _bundles(case, pour)
    case.look()


def endless_metadata(case: Case) -> None:
    _metadata(case, "timestamp.json", b" " * (1 << 20))
    case.look()


def slow(case: Case) -> None:
    case.fleet.publish(case.fleet.bundle(8), now=case.now)

    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)

    _bundles(case, drip)
    case.look()


def silent(case: Case) -> None:
    def wait(path: str, handler: http.server.BaseHTTPRequestHandler) -> bool:
        time.sleep(3)
        return True

    case.server.spoil = wait
    case.look()


def _without_end(case: Case, begin: bytes, then: bytes) -> None:
    def spoil(path: str, handler: http.server.BaseHTTPRequestHandler) -> bool:
        handler.wfile.write(begin)
        while True:
            handler.wfile.write(then)
            time.sleep(0.05)

    case.server.spoil = spoil
    case.look()


def head_without_end(case: Case) -> None:
    _without_end(case, b"HTTP/1.1 200 OK\r\nX: ", b"a")


def continue_without_end(case: Case) -> None:
    _without_end(case, b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50)


def trailers_without_end(case: Case) -> None:
    _without_end(case, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n")


def _zip(case: Case, name: str, change: Callable[[zipfile.ZipInfo], None]) -> Path:
    """A bundle that a zip library wrote anew, with one member changed."""
    bundle = case.fleet.bundle(8)
    out = io.BytesIO()
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            data, made = old.read(entry), zipfile.ZipInfo(entry.filename, (1980, 1, 1, 0, 0, 0))
            made.create_system, made.external_attr = 3, 0o100644 << 16
            if entry.filename == name:
                change(made)
            new.writestr(made, data, made.compress_type)
    bundle.write_bytes(out.getvalue())
    return bundle


def path_traversal(case: Case) -> None:
    case.install(_zip(case, "model.tflite", lambda made: setattr(made, "filename", "../../model.tflite")))


def path_traversal_signed(case: Case) -> None:
    """Whoever has a release key does not get out of the slot either."""
    files = files_of(8)
    text = manifest_of(8, files).to_bytes().replace(b'"golden/0.png"', b'"../../etc/0.png"')
    case.install(case.fleet.bundle(8, payload=text))


def symlink(case: Case) -> None:
    case.install(_zip(case, "model.tflite", lambda made: setattr(made, "external_attr", 0o120777 << 16)))


def zip_bomb(case: Case) -> None:
    case.install(_zip(case, "model.tflite", lambda made: setattr(made, "compress_type", zipfile.ZIP_DEFLATED)))


def zip_bomb_before_the_signature(case: Case) -> None:
    case.install(_zip(case, "bundle.sig", lambda made: setattr(made, "compress_type", zipfile.ZIP_DEFLATED)))


def member_too_many(case: Case) -> None:
    bundle = case.fleet.bundle(8)
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr("more.txt", "more")
    case.install(bundle)


def other_hardware(case: Case) -> None:
    case.install(case.fleet.bundle(8, hardware=("jetson",)))


def other_group(case: Case) -> None:
    case.install(case.fleet.bundle(8, groups=("garage",)))


def changed_golden_images(case: Case) -> None:
    bundle = case.fleet.bundle(8)
    data = bundle.read_bytes()
    assert data.count(b"picture") == 1
    bundle.write_bytes(data.replace(b"picture", b"Picture"))
    case.install(bundle)


def changed_on_the_way(case: Case) -> None:
    bundle = case.fleet.bundle(8)
    case.fleet.publish(bundle, now=case.now)
    data = bundle.read_bytes()
    _bundles(case, lambda handler: _answer(handler, data.replace(b"picture", b"Picture")))
    case.look()


def clock_set_back(case: Case) -> None:
    case.now = datetime(1970, 1, 1, tzinfo=UTC)
    case.look()


def clock_set_back_before_a_stick(case: Case) -> None:
    bundle = case.fleet.bundle(8)
    case.now = datetime(1970, 1, 1, tzinfo=UTC)
    case.install(bundle)


def newer_edgeguard(case: Case) -> None:
    case.install(case.fleet.bundle(8, edgeguard="99.0"))


def captive_portal(case: Case) -> None:
    _metadata(case, "timestamp.json", b"<html>Please log in</html>")
    case.look()


def captive_portal_for_everything(case: Case) -> None:
    _metadata(case, "/", b"<html>Please log in</html>")
    case.look()


def captive_portal_that_redirects(case: Case) -> None:
    def spoil(path: str, handler: http.server.BaseHTTPRequestHandler) -> bool:
        handler.send_response(302)
        handler.send_header("Location", "http://127.0.0.1:1/")
        handler.end_headers()
        return True

    case.server.spoil = spoil
    case.look()


def web_page_on_a_stick(case: Case) -> None:
    path = case.fleet.folder / "cam-8.egb"
    path.write_bytes(b"<html>Please log in</html>" * 10)
    case.install(path)


def no_network(case: Case) -> None:
    case.server.url = "http://127.0.0.1:1"
    case.look()


def online_key_rolls_out_what_nobody_released(case: Case) -> None:
    """Whoever has the key that is on line can choose among released bundles, and no more."""
    from edgeguard.fleet.trust import Offer

    current = _read(case.fleet.repository, case.now)
    _write(case.fleet.repository, current, None, [Offer("bundles/cam-9.egb", "cam", 9)], case.now)
    case.look()


#: What the attacker does, the error that ends it, and words of its line.
ATTACKS: list[tuple[Callable[[Case], None], type[EdgeGuardError], str]] = [
    (unsigned, InputError, "the bundle is not signed"),
    (unsigned_metadata, InputError, "too few of the trusted keys signed it"),
    (wrong_key, InputError, "not (or no longer) one of this fleet's release keys"),
    (wrong_key_on_metadata, InputError, "too few of the trusted keys signed it"),
    (revoked_key, InputError, "not (or no longer) one of this fleet's release keys"),
    (too_few_signatures, InputError, "1 of the 2 signatures that this fleet wants"),
    (older_version, InputError, "is no newer than cam-7, which ran here"),
    (older_metadata, InputError, "older metadata than this device has seen"),
    (older_metadata_after_a_power_cut_emptied_ours, InputError, "which is older than"),
    (expired_bundle, InputError, "has expired"),
    (expired_metadata, InputError, "somebody holds back what is new"),
    (mixed_files, InputError, "do not belong together"),
    (mixed_files_in_a_bundle, InputError, "differs from what was signed"),
    (larger_than_said, InputError, "larger than the"),
    (larger_than_said_on_a_stick, InputError, "larger than was signed"),
    (endless, InputError, "larger than the"),
    (endless_metadata, InputError, "larger than it may be"),
    (slow, DeviceError, "too slow"),
    (silent, DeviceError, "too slow"),
    (head_without_end, DeviceError, "too slow"),
    (continue_without_end, DeviceError, "too slow"),
    (trailers_without_end, DeviceError, "too slow"),
    (path_traversal, InputError, "manifest gives"),
    (path_traversal_signed, InputError, "leads out of the bundle"),
    (symlink, InputError, "a link, another name or size"),
    (zip_bomb, InputError, "manifest gives"),
    (zip_bomb_before_the_signature, InputError, "bundle.sig is packed"),
    (member_too_many, InputError, "larger than was signed"),
    (other_hardware, InputError, "is for other hardware (jetson), this device is pi5, aarch64"),
    (other_group, InputError, "is for other groups (garage)"),
    (changed_golden_images, InputError, "golden/0.png differs from what was signed"),
    (changed_on_the_way, CheckFailed, "the download differs from what was signed"),
    (clock_set_back, DeviceError, "the clock says 1970-01-01T00:00:00Z"),
    (clock_set_back_before_a_stick, DeviceError, "the clock says 1970-01-01T00:00:00Z"),
    (newer_edgeguard, InputError, "wants edgeguard 99.0"),
    (captive_portal, DeviceError, "a captive portal?"),
    (captive_portal_for_everything, DeviceError, "a captive portal?"),
    (captive_portal_that_redirects, DeviceError, "a captive portal?"),
    (web_page_on_a_stick, InputError, "a captive portal"),
    (no_network, DeviceError, "cannot be reached"),
    (online_key_rolls_out_what_nobody_released, InputError, "no release key signed it"),
]


@pytest.mark.parametrize(("attack", "error", "words"), ATTACKS, ids=[attack.__name__ for attack, _, _ in ATTACKS])
def test_attacks_are_refused_in_one_line(
    attack: Callable[[Case], None], error: type[EdgeGuardError], words: str, tmp_path: Path
) -> None:
    fleet, now = Fleet(tmp_path), datetime.now(UTC)
    layout, device = fleet.device()
    fleet.publish(fleet.bundle(7), now=now)
    with Server(fleet.repository.folder) as server:
        case = Case(fleet, layout, device, server, now)
        assert case.look() == "updated"
        before = read_state(layout)
        with pytest.raises(error) as refusal:
            attack(case)
    line = str(refusal.value)
    assert words in line and "\n" not in line and len(line) < 400, line
    assert type(refusal.value) is error
    assert read_state(layout) == before
    assert before.current is not None and before.current.title == "cam-7"
    assert sha256_file(layout.slot(before.current.slot) / "model.tflite") == sha256_of(files_of(7)["model.tflite"])
    left = sum(path.stat().st_size for path in layout.incoming.glob("*.egb"))
    assert left < 3000, "an attack fills the disk"


def sha256_of(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()
