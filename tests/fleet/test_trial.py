"""A bundle on trial: it stays when the run is well, and is taken back for every reason that there is."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tuf", reason="the extra fleet is not installed")
from fleet.fleets import FakeService, Fleet, full_disk, well

from edgeguard.errors import CheckFailed, InputError
from edgeguard.fleet.agent import Updater
from edgeguard.fleet.identity import Device
from edgeguard.fleet.layout import Layout
from edgeguard.fleet.manifest import Health
from edgeguard.fleet.probation import Watch
from edgeguard.fleet.service import ChildService
from edgeguard.fleet.state import read_state

LIMIT_S = 90.0


class Hours:
    """A clock that goes by as fast as it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0
        self.began = time.time()

    def watch(self) -> Watch:
        return Watch(clock=lambda: self.now, sleep=self._sleep, wall=time.time)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


def _crash(layout: Layout) -> Callable[[FakeService], None]:
    return lambda service: setattr(service, "why", "exit code 70: a bug")


def _hang(layout: Layout) -> Callable[[FakeService], None]:
    return well(layout, frames=3)


def _never_ready(layout: Layout) -> Callable[[FakeService], None]:
    return lambda service: setattr(service, "ready", False)


def _silent(layout: Layout) -> Callable[[FakeService], None]:
    return lambda service: layout.status.unlink(missing_ok=True)


def _slow(layout: Layout) -> Callable[[FakeService], None]:
    return well(layout, infer_ms=[80, 90])


def _old_frames(layout: Layout) -> Callable[[FakeService], None]:
    return well(layout, age_ms=[300, 500])


def _hot(layout: Layout) -> Callable[[FakeService], None]:
    return well(layout, celsius=85.0)


def _throttled(layout: Layout) -> Callable[[FakeService], None]:
    return well(layout, limits=["throttled"])


def _lost_camera(layout: Layout) -> Callable[[FakeService], None]:
    return well(layout, frames=0, camera="lost")


BAD = [
    (_crash, "the run ended: exit code 70: a bug"), (_hang, "3 of 30 frames"), (_never_ready, "not ready"),
    (_silent, "says nothing of itself"), (_slow, "inference p95 90 ms, 20 ms are allowed"),
    (_old_frames, "age p95 500 ms, 20 ms are allowed"), (_hot, "85 degrees"), (_throttled, "throttled"),
    (_lost_camera, "0 of 30 frames"),
]  # fmt: skip


def _running(tmp_path: Path) -> tuple[Fleet, Layout, Device]:
    fleet = Fleet(tmp_path)
    layout, device = fleet.device()
    service = FakeService(well(layout))
    assert Updater(layout, device, service, golden=lambda folder: None).install(fleet.bundle(1)).kind == "updated"
    return fleet, layout, device


@pytest.mark.parametrize(("bad", "why"), BAD, ids=[bad.__name__.strip("_") for bad, _ in BAD])
def test_what_is_not_well_is_taken_back(
    bad: Callable[[Layout], Callable[[FakeService], None]], why: str, tmp_path: Path
) -> None:
    fleet, layout, device = _running(tmp_path)
    bundle = fleet.bundle(2, health=Health(within_s=60))
    well(layout, at=time.time() - 1)(FakeService())  # what ran a second ago: 9 ms
    hours, starts = Hours(), 0

    def behave(service: FakeService) -> None:
        nonlocal starts
        starts += 1
        (bad if starts == 1 else well)(layout)(service)

    service = FakeService(behave)
    outcome = Updater(layout, device, service, hours.watch(), golden=lambda folder: None).install(bundle)
    assert outcome.kind == "taken back" and why in outcome.text and "cam-1 is back" in outcome.text, outcome
    assert hours.now <= LIMIT_S and starts == 2
    state = read_state(layout)
    assert state.current is not None and state.current.version == 1 and state.trial is None
    assert state.failures[-1].version == 2 and state.highest == {"cam": 1}


def test_a_camera_that_was_lost_before_may_stay_lost(tmp_path: Path) -> None:
    fleet, layout, device = _running(tmp_path)
    well(layout, frames=0, camera="lost", at=time.time() - 1)(FakeService())  # what ran a second ago
    updater = Updater(layout, device, FakeService(_lost_camera(layout)), golden=lambda folder: None)
    assert updater.install(fleet.bundle(2)).kind == "updated"


def test_a_bundle_that_fills_the_disk_is_taken_back_and_its_files_go(tmp_path: Path) -> None:
    fleet, layout, device = _running(tmp_path)

    def behave(service: FakeService) -> None:
        current = read_state(layout).current
        if current is not None and current.version == 2:
            work = layout.root / "work" / "cam-2"
            work.mkdir(parents=True)
            (work / "results.jsonl").write_bytes(bytes(1000))

    hours = Hours()
    service = FakeService(behave)
    updater = Updater(layout, device, service, hours.watch(), golden=lambda folder: None)
    real = service.restart

    def filling() -> None:
        real()
        if service.starts == 1:
            filled.__enter__()

    filled = full_disk(tmp_path, 1 << 20)
    service.restart = filling  # type: ignore[method-assign]  # a double with another restart
    try:
        outcome = updater.install(fleet.bundle(2))
    finally:
        filled.__exit__(None, None, None)
    assert outcome.kind == "taken back" and "the disk is full" in outcome.text
    assert not (layout.root / "work" / "cam-2").exists() and hours.now <= LIMIT_S


def test_other_golden_outputs_never_become_current(tmp_path: Path) -> None:
    fleet, layout, device = _running(tmp_path)

    def differs(folder: Path) -> None:
        raise CheckFailed(
            "golden images: golden/0.png: the model answers otherwise here than where the bundle was made"
        )

    with pytest.raises(CheckFailed, match="answers otherwise"):
        Updater(layout, device, FakeService(), golden=differs).install(fleet.bundle(2))
    state = read_state(layout)
    assert state.current is not None and state.current.version == 1 and not layout.slot(state.idle_slot).exists()


@pytest.mark.full
def test_a_model_that_is_none_is_refused_by_the_golden_child(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    layout, device = fleet.device()
    with pytest.raises(InputError, match=r"cam-1\.egb: .*model\.tflite"):
        Updater(layout, device, FakeService()).install(fleet.bundle(1))
    assert read_state(layout).current is None


def _child(code: str) -> ChildService:
    return ChildService([sys.executable, "-c", code])


def test_a_child_that_says_ready_is_ready_and_its_end_is_told() -> None:
    say = "import os,socket,sys,time; s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM);"
    say += "s.sendto(b'READY=1\\n','\\0'+os.environ['NOTIFY_SOCKET'][1:]);time.sleep(0.2);sys.exit('no camera')"
    service = _child(say)
    service.restart()
    until = time.monotonic() + 20
    while service.death() is None and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.2)
    assert service.is_ready() and service.death() == "exit code 1: no camera"
    service.stop()
    assert service.death() == "it is not started"


def test_a_child_that_does_not_end_is_killed_with_what_it_started(tmp_path: Path) -> None:
    code = "import signal,subprocess,sys,time; signal.signal(15,signal.SIG_IGN);"
    code += f"open({str(tmp_path / 'pid')!r},'w').write(str(subprocess.Popen(['sleep','60']).pid)); time.sleep(60)"
    service = _child(code)
    service.restart()
    until = time.monotonic() + 20
    while not (tmp_path / "pid").exists() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.1)
    import edgeguard.fleet.service as module

    module._END_WITHIN_S, before = 0.2, module._END_WITHIN_S
    try:
        service.stop()
    finally:
        module._END_WITHIN_S = before
    pid = int((tmp_path / "pid").read_text())
    state = Path(f"/proc/{pid}/stat")
    time.sleep(0.1)
    assert not state.exists() or state.read_text().split()[2] == "Z"


@pytest.mark.full
def test_real_runs_are_kept_and_taken_back(tmp_path: Path) -> None:
    """The bundled model as cam-1; cam-2 has a source that is not there, which ends the run at once."""
    from datetime import UTC, datetime

    import cv2

    from edgeguard.demo.assets import bundled_model, stand_in_images
    from edgeguard.fleet.service import edgeguard_command
    from edgeguard.fleet.workstation.build import build, sign

    fleet = Fleet(tmp_path)
    layout, device = fleet.device(hardware=("any",))
    (tmp_path / "photos").mkdir()
    for number, picture in enumerate(stand_in_images()[:8]):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), picture[:, :, ::-1])
    updater = Updater(layout, device, ChildService(edgeguard_command("fleet", "run", "--root", str(layout.root))))
    sources = {1: "synthetic:cards?fps=20&width=320&height=240", 2: str(tmp_path / "not-there.mp4")}
    try:
        for version, source in sources.items():
            config = tmp_path / "run.toml"
            config.write_text(f'[camera]\nsource = "{source}"\n')
            bundle = tmp_path / f"cam-{version}.egb"
            build(bundle, bundled_model(), config, tmp_path / "photos", now=datetime.now(UTC))
            sign(bundle, fleet.keys / "release")
            began = time.monotonic()
            outcome = updater.install(bundle)
            assert outcome.kind == ("updated" if version == 1 else "taken back"), outcome
        assert "the run ended: exit code" in outcome.text and time.monotonic() - began < LIMIT_S
        assert updater.service.death() is None
    finally:
        updater.service.stop()


def test_a_device_takes_one_name_and_its_share(tmp_path: Path) -> None:
    from edgeguard.fleet.choose import choose, is_in_share
    from edgeguard.fleet.state import State
    from edgeguard.fleet.trust import Offer, Rollout

    device = Device(1, "cam-hall", ("pi5",))
    shares = [sum(is_in_share(f"device-{n}", 7, percent) for n in range(4000)) / 4000 for percent in (0, 5, 50, 100)]
    assert shares[0] == 0 and 0.035 < shares[1] < 0.065 and 0.47 < shares[2] < 0.53 and shares[3] == 1
    assert all(is_in_share(f"d{n}", 7, 50) for n in range(500) if is_in_share(f"d{n}", 7, 5)), "a share only grows"
    offers = (
        Offer("b/cam-7.egb", "cam", 7),
        Offer("b/cam-8.egb", "cam", 8),
        Offer("b/cam-9.egb", "cam", 9, halted=True),
    )
    found = choose(Rollout(1, 1, "2026-01-01T00:00:00Z", offers), device, State())
    assert found is not None and found.version == 8
    assert choose(Rollout(1, 1, "2026-01-01T00:00:00Z", offers), device, State(highest={"cam": 8})) is None
    others = Rollout(1, 1, "2026-01-01T00:00:00Z", (*offers, Offer("b/door-1.egb", "door", 1)))
    with pytest.raises(InputError, match="several names fit"):
        choose(others, device, State())
    assert choose(others, replace(device, bundle="door"), State()) == others.bundles[-1]


def test_the_agent_needs_none_of_the_workstations_libraries() -> None:
    code = (
        "import sys; import edgeguard.fleet.agent, edgeguard.fleet.link, edgeguard.fleet.units, edgeguard.cli.main\n"
        "print(sorted({'numpy','cv2','torch','PIL','ai_edge_litert','edgeguard.fleet.workstation'}"
        " & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
