"""A fleet on one machine (`make demo-fleet`): a broker, a repository on a web server, three agents with their runs.

cam-1 is good and stays. cam-2 names a camera that is not there: each device that is chosen tries it and takes it back.

    python benchmarks/fleet_demo.py [--keep]
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

EDGEGUARD = [sys.executable, "-c", "from edgeguard.cli.main import main; main()"]
DEVICES = ("cam-door", "cam-hall", "cam-yard")
WITHIN_S = 90.0


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    keep = parser.parse_args().keep
    folder = Path(tempfile.mkdtemp(prefix="edgeguard-fleet-"))
    try:
        with ExitStack() as stack:
            _demo(folder, stack)
    finally:
        if keep:
            print(f"kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _demo(folder: Path, stack: ExitStack) -> None:
    os.chdir(folder)
    broker, web = _free_port(), _free_port()
    (folder / "repo").mkdir()
    mqtt, repository = f"mqtt://127.0.0.1:{broker}", f"http://127.0.0.1:{web}"
    stack.enter_context(_broker(folder, broker))
    stack.enter_context(_process(sys.executable, "-m", "http.server", str(web), "--bind", "127.0.0.1", "-d", "repo"))
    _golden_images(folder / "photos")
    _edgeguard("fleet", "keygen", "keys")
    _release(1, "synthetic:cards?fps=10&width=320&height=240")
    for device in DEVICES:
        token = _edgeguard("fleet", "enroll", device, quiet=True).strip()
        (folder / f"{device}.token").write_text(token)
    page = f"127.0.0.1:{_free_port()}"
    watching = ("--mqtt", mqtt, "--devices", "devices.json", "--repository", "repo", "--web", page)
    stack.enter_context(_process(*EDGEGUARD, "fleet", "status", *watching))
    _wait(lambda: _listens(int(page.rpartition(":")[2])), "the fleet's page")
    for device in DEVICES:
        joining = ("--token-file", f"{device}.token", "--mqtt", mqtt)
        _edgeguard("fleet", "join", "--root-metadata", "keys/root.json", "--device", device, "--root", device, *joining)
    print(f"the fleet's page: http://{page}/")
    agents = [
        stack.enter_context(
            _process(
                *EDGEGUARD,
                "fleet",
                "agent",
                "--repository",
                repository,
                "--root",
                device,
                "--mqtt",
                mqtt,
                "--every",
                "5",
            )
        )
        for device in DEVICES
    ]
    began = time.monotonic()
    _wait(lambda: all(_state(d)["highest"].get("cam") == 1 for d in DEVICES), "cam-1 on all devices", 4 * WITHIN_S)
    print(f"cam-1 runs on {len(DEVICES)} devices after {time.monotonic() - began:.0f} s")
    for device, agent in zip(DEVICES, agents, strict=True):
        print(f"{device}: the agent takes {_memory_mb(agent.pid):.1f} MB (PSS)")
    _release(2, "/dev/a-camera-that-is-not-there.mp4")
    began = time.monotonic()
    _wait(lambda: all(_state(d)["failures"] for d in DEVICES), "cam-2 taken back on all devices", 4 * WITHIN_S)
    print(f"cam-2 was taken back on {len(DEVICES)} devices within {time.monotonic() - began:.0f} s of its publication")
    for device in DEVICES:
        state = _state(device)
        assert state["current"]["version"] == 1 and state["trial"] is None, state
        print(f"{device}: runs cam-{state['current']['version']}; cam-2: {state['failures'][-1]['why']}")
    _wait(lambda: _fleet(page)["rollouts"][-1]["halted"], "the rollout of cam-2 is halted", 3 * WITHIN_S)
    for rollout in _fleet(page)["rollouts"]:
        print(f"{rollout['bundle']}: well on {rollout['well']}, taken back on {rollout['failed']}"
              f"{', HALTED' if rollout['halted'] else ''}")  # fmt: skip


def _release(version: int, source: str) -> None:
    from edgeguard.demo.assets import bundled_model

    Path("run.toml").write_text(f'[camera]\nsource = "{source}"\n[pipeline]\ncompare_every = 5\n')
    words = (
        "--model",
        str(bundled_model()),
        "--config",
        "run.toml",
        "--golden",
        "photos",
        "--output",
        f"cam-{version}.egb",
    )
    _edgeguard("fleet", "bundle", *words)
    _edgeguard("fleet", "sign", f"cam-{version}.egb", "--key", "keys/release")
    _edgeguard("fleet", "publish", "repo", f"cam-{version}.egb")


def _edgeguard(*words: str, quiet: bool = False) -> str:
    print(f"$ edgeguard {' '.join(words)}")
    done = subprocess.run([*EDGEGUARD, *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr.strip())
    if not quiet:
        print(*(f"    {line}" for line in done.stdout.splitlines()), sep="\n")
    return done.stdout


@contextmanager
def _process(*words: str) -> Iterator["subprocess.Popen[bytes]"]:
    with open("log.txt", "ab") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _broker(folder: Path, port: int) -> Iterator[None]:
    mosquitto = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if mosquitto is None:
        raise SystemExit("the demo needs a broker: apt install mosquitto")
    user = "" if os.geteuid() else "user root"
    (folder / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\n{user}\nallow_anonymous true\n")
    with _process(mosquitto, "-c", "mosquitto.conf"):
        _wait(lambda: _listens(port), "the broker")
        yield


def _golden_images(folder: Path) -> None:
    import cv2

    from edgeguard.demo.assets import stand_in_images

    folder.mkdir()
    for number, picture in enumerate(stand_in_images()[:8]):
        cv2.imwrite(str(folder / f"{number}.png"), picture[:, :, ::-1])


def _state(device: str) -> dict[str, Any]:
    path = Path(device) / "state.json"
    empty: dict[str, Any] = {"highest": {}, "failures": [], "trial": None, "current": None}
    return {**empty, **(json.loads(path.read_bytes()) if path.exists() else {})}


def _fleet(page: str) -> dict[str, Any]:
    import urllib.request

    with urllib.request.urlopen(f"http://{page}/fleet.json", timeout=30) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def _memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1000
    raise RuntimeError("the kernel does not say how much memory a process takes")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"{what}: not within {seconds:.0f} s\n{Path('log.txt').read_text()[-2000:]}")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
