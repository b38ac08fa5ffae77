"""Eight cameras in one process, and what a hung and a flooding one among them do to the other six.

    python -m benchmarks.cameras MODEL.tflite [--seconds 30] [--rounds 3] [--cameras 8] [--fps 5] [--even]

Motion JPEG at 1280x720 over HTTP on loopback, from one process of stand-ins that shares the cores. The two set-ups take
turns in this process, so that what else the machine does meets both. Cameras do not wait for each other: in each round
every one begins at a moment of its interval that is drawn, the same in both set-ups. `--even` spreads them evenly, so
that no two frames meet. Rows `healthy` and `attacked` are of the same six cameras; `healthy, all` is of all eight. The
last line holds the medians of the rounds, and how many times as long the six's 99th percentile is beside the other two:
the geometric mean of the rounds with its 95 % interval (Student's t of the logarithms).
"""

import argparse
import itertools
import json
import multiprocessing
import signal
import socket
import threading
import time
from collections import defaultdict
from multiprocessing.connection import Connection
from typing import Any

import cv2
import numpy as np

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"


class TimeUp(Exception):
    """The round is over."""


def stand_ins(sender: Connection, jpegs: list[bytes], kinds: list[str], fps: float, phases: list[list[float]]) -> None:
    """A listener for each camera: `good` is paced, `hung` sends nothing after a second, `flood` is not paced.

    Of each the n-th connection begins at `phases[n]` of its interval, or the last one.
    """
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in kinds]
    sender.send([listener.getsockname()[1] for listener in listeners])
    for number, (listener, kind) in enumerate(zip(listeners, kinds, strict=True)):
        threading.Thread(target=_accept, args=(listener, kind, jpegs, fps, number, phases[number]), daemon=True).start()
    while True:
        time.sleep(60)


def _accept(
    listener: socket.socket, kind: str, jpegs: list[bytes], fps: float, number: int, phases: list[float]
) -> None:
    for count in itertools.count():
        connection, _ = listener.accept()
        phase = phases[min(count, len(phases) - 1)]
        threading.Thread(target=_serve, args=(connection, kind, jpegs, fps, number, phase), daemon=True).start()


def _serve(connection: socket.socket, kind: str, jpegs: list[bytes], fps: float, number: int, phase: float) -> None:
    now = time.monotonic()
    due, index = now - now % (1 / fps) + (1 + phase) / fps, number  # all count their intervals from the same moment
    try:
        connection.recv(65536)
        connection.sendall(HEAD)
        while True:
            if kind == "hung" and index > number + fps:
                time.sleep(3600)
            jpeg = jpegs[index % len(jpegs)]
            connection.sendall(b"--frame\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg))
            index += 1
            if kind != "flood":
                due += 1 / fps
                time.sleep(max(due - time.monotonic(), 0))
    except OSError:
        connection.close()


def frames(count: int = 20) -> list[bytes]:
    """Rendered frames as a camera codes them."""
    from edgeguard.scene.views import render, stand_in_views

    pictures = [render(view, 1280, 720) for view in stand_in_views(count)]
    return [
        cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes() for picture in pictures
    ]


def one_round(model: Any, ports: list[int], seconds: float) -> dict[str, list[tuple[float, float]]]:
    """Arrival and age of each result, by camera; the first three seconds are left out."""
    from edgeguard.camera import source_opener
    from edgeguard.run.settings import Camera, Settings
    from edgeguard.run.several import run_several

    cameras = tuple(Camera(f"c{n}", f"http://127.0.0.1:{port}/") for n, port in enumerate(ports))
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    began = time.monotonic()

    def shown(result: Any) -> None:
        if time.monotonic() - began > 3:
            found[result.camera].append((time.monotonic(), result.age_ms))

    def up(*_: object) -> None:
        raise TimeUp

    signal.signal(signal.SIGALRM, up)
    signal.setitimer(signal.ITIMER_REAL, seconds + 3)
    openings = {one.name: source_opener(one.source) for one in cameras}
    run_several(Settings(cameras=cameras), model, openings, shown=shown, ends=(TimeUp,))
    return found


def summary(found: dict[str, list[tuple[float, float]]], names: list[str], seconds: float, limit_ms: float) -> Any:
    """Rates and ages of some cameras together."""
    ages = np.array([age for name in names for _, age in found[name]])
    rates = [len(found[name]) / seconds for name in names]
    mean = float(np.mean(rates))
    return {
        "results_s": round(mean, 3), "unfair": round((max(rates) - min(rates)) / mean, 3),
        "p50_ms": round(float(np.percentile(ages, 50)), 1), "p99_ms": round(float(np.percentile(ages, 99)), 1),
        "younger": round(float((ages < limit_ms).mean()), 4),
    }  # fmt: skip


def report(rows: dict[str, list[Any]], name: str, row: Any) -> None:
    """Keep a row, and print it."""
    rows[name].append(row)
    print(json.dumps({"round": name, **row}), flush=True)


def p99_ratio(healthy: list[Any], attacked: list[Any]) -> list[float]:
    """Geometric mean over the rounds of attacked / healthy, and its 95 % interval."""
    from edgeguard.fieldtest.analysis.paired import student_quantile

    logs = np.log([b["p99_ms"] / a["p99_ms"] for a, b in zip(healthy, attacked, strict=True)])
    n = len(logs)
    spread = student_quantile(n - 1) * logs.std(ddof=1) / n**0.5 if n > 1 else np.inf
    return [round(float(np.exp(logs.mean() + side * spread)), 3) for side in (0, -1, 1)]


def main() -> None:
    """Print a line of JSON for each round and the medians of all."""
    from edgeguard.model import load_model

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--fps", type=float, default=5)
    parser.add_argument("--even", action="store_true", help="cameras take turns: the best case")
    said = parser.parse_args()
    count, good = said.cameras, said.cameras - 2
    kinds = ["good"] * count, ["good"] * good + ["hung", "flood"]
    model, jpegs = load_model(said.model), frames()
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    kind = [*kinds[0], *kinds[1]]
    rng = np.random.default_rng(0)
    drawn = [[n / count] if said.even else rng.random(said.rounds).tolist() for n in range(count)]
    server = context.Process(target=stand_ins, args=(sender, jpegs, kind, said.fps, 2 * drawn), daemon=True)
    server.start()
    ports = receiver.recv()
    rows: dict[str, list[Any]] = {"healthy, all": [], "healthy": [], "attacked": []}
    try:
        for _ in range(said.rounds):
            for name, part in (("healthy", ports[:count]), ("attacked", ports[count:])):
                found = one_round(model, part, said.seconds)
                names = [f"c{n}" for n in range(count)]
                if name == "healthy":
                    report(rows, "healthy, all", summary(found, names, said.seconds, 2e3 / said.fps))
                row = summary(found, names[:good], said.seconds, 2e3 / said.fps)
                if name == "attacked":
                    row["flood_s"] = round(len(found[names[-1]]) / said.seconds, 2)
                report(rows, name, row)
    finally:
        server.terminate()
    medians = {name: {k: float(np.median([r[k] for r in all_])) for k in all_[0]} for name, all_ in rows.items()}
    print(json.dumps({**medians, "p99_ratio": p99_ratio(rows["healthy"], rows["attacked"])}))


if __name__ == "__main__":
    main()
