"""A device of a fleet for aarch64 under emulation: it joins, takes a bundle that was made here, and keeps it.

    python -m release.check_fleet bookworm

The golden images' outputs come from this machine, and have to be the same there, byte for byte. The trial has more
time and other limits than a board's, because everything is emulated.
"""

import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from release.checks import say
from release.debian import SUITES, check_programs, emulated_environment
from release.environments import Environment
from release.steps import DIST, WORK, ReleaseError, run_script, single

_HERE = [sys.executable, "-c", "from edgeguard.cli.main import main; main()", "fleet"]


def main() -> None:
    """The suites that were named, one after another."""
    names = sys.argv[1:]
    if not names or set(names) - set(SUITES):
        raise ReleaseError(f"name one or more of {', '.join(SUITES)}")
    check_programs()
    wheel = single(DIST, "edgeguard-*_aarch64.whl")
    for name in names:
        environment = emulated_environment(name, [f"{wheel}[fleet]"], name="fleet")
        say(environment, check_fleet(environment))


def check_fleet(environment: Environment) -> Iterator[str]:
    """Keys, bundle and repository are made here; the device is emulated.

    Raises:
        ReleaseError: the device does not take the bundle.
    """
    folder = WORK / "fleet"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment.folder.mkdir(exist_ok=True)
    _make(folder)
    handler = partial(_Quiet, directory=str(folder / "repo"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        root = str(folder / "device")
        joined = environment.edgeguard(
            "fleet", "join", "--root-metadata", folder / "keys" / "root.json", "--device", "cam-pi", "--root", root
        )
        yield joined.stdout.strip().split("; ")[0]
        url = f"http://127.0.0.1:{server.server_port}"
        yield environment.edgeguard("fleet", "agent", "--repository", url, "--once", "--root", root).stdout.strip()
        server.shutdown()
    state = json.loads((folder / "device" / "state.json").read_bytes())
    if state["highest"] != {"cam": 7} or state["trial"] is not None:
        raise ReleaseError(f"{environment.name}: the device's state is {state}")
    yield "8 golden images of this machine: the same outputs there"


def _make(folder: Path) -> None:
    import cv2

    from edgeguard.demo.assets import bundled_model, stand_in_images

    (folder / "photos").mkdir()
    for number, picture in enumerate(stand_in_images()[:8]):
        cv2.imwrite(str(folder / "photos" / f"{number}.png"), picture[:, :, ::-1])
    (folder / "run.toml").write_text('[camera]\nsource = "synthetic:cards?fps=5&width=320&height=240"\n')
    bundle = ["--model", bundled_model(), "--config", "run.toml", "--golden", "photos", "--output", "cam-7.egb"]
    for words in (
        ["keygen", "keys"],
        ["bundle", *bundle, "--hardware", "aarch64", "--within", "75", "--frames", "3"],
        ["sign", "cam-7.egb", "--key", "keys/release"],
        ["publish", "repo", "cam-7.egb"],
    ):
        done = subprocess.run([*_HERE, *map(str, words)], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ReleaseError(f"fleet {words[0]}: {done.stderr.strip()}")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    sys.exit(run_script("release-check, a fleet's device", main))
