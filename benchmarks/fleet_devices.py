"""A thousand devices that take one bundle: one broker, one static web server, workers in three processes.

    python benchmarks/fleet_devices.py [--devices 1000] [--folder /dev/shm]

Each device verifies the repository's metadata with python-tuf, downloads a bundle of 1 MB, hashes it, verifies and
unpacks it, switches, and sends a signed message; the golden images and the health of the run are simulated. A device's
folder goes when it is done, so the disk (or the memory, on a tmpfs, where syncing costs nothing) holds few at a time.
Prints how long all took, the memory of all processes (PSS) at its most, and the traffic of one device.
"""

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fleet import brokers, fleets

from edgeguard.fleet.agent import Updater
from edgeguard.fleet.fetch import Fetcher
from edgeguard.fleet.identity import Device, device_key, join
from edgeguard.fleet.layout import Layout
from edgeguard.fleet.probation import Watch
from edgeguard.fleet.state import read_state
from edgeguard.fleet.telemetry import message, signed
from edgeguard.fleet.workstation.collect import Collector, Fleet
from edgeguard.fleet.workstation.devices import Devices, change_devices
from edgeguard.sinks.mqtt_client import Broker, new_client

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    from paho.mqtt.client import Client

    Results = Queue[list[tuple[float, int]]]

WORKERS, THREADS = 3, 4
BUNDLE_BYTES = 1_000_000


def update(folder: Path, name: str, root: bytes, url: str, client: "Client") -> tuple[float, int]:
    """One device from nothing to its bundle; seconds, and bytes received."""
    layout, device = Layout(folder / name), Device(1, name, ("pi5",))
    began, fetcher = time.monotonic(), Fetcher()
    try:
        join(layout, root, device)
        service = fleets.FakeService(fleets.well(layout))
        watch = Watch(sleep=lambda seconds: None)
        updater = Updater(layout, device, service, watch, golden=lambda slot: None)
        outcome = updater.look(url, fetcher)
        assert outcome.kind == "updated", outcome
        payload = signed(message(name, 1, read_state(layout), None), device_key(layout))
        client.publish(f"edgeguard/{name}/telemetry", payload, qos=1).wait_for_publish(60)
    finally:
        shutil.rmtree(layout.root, ignore_errors=True)
    return time.monotonic() - began, fetcher.received


def work(
    folder: Path,
    names: list[str],
    url: str,
    broker: str,
    keys: Path,
    results: "Results",
) -> None:
    """The devices of one process."""
    root = (folder / "keys" / "root.json").read_bytes()
    client, host, port = new_client(Broker(broker))
    client.connect(host, port)
    client.loop_start()
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            jobs = [pool.submit(update, folder, name, root, url, client) for name in names]
            results.put([job.result() for job in jobs])
    finally:
        client.disconnect()
        client.loop_stop()


def serve(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """The static web server, a process of its own."""
    words = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "-d", str(folder)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def pss_mb(pids: list[int]) -> float:
    """Memory of processes, each shared page counted once."""
    total = 0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                total += int(line.split()[1]) if line.startswith("Pss:") else 0
        except OSError:
            continue
    return total / 1000


def cpu_s(pid: int) -> float:
    """Processor time of a process that runs."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--folder", default=None)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="edgeguard-fleet-", dir=given.folder))
    try:
        run(folder, given.devices)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(folder: Path, count: int) -> None:
    """Update so many devices, and print what it took."""
    fleet = fleets.Fleet(folder)
    contents = {**fleets.files_of(1), "model.tflite": os.urandom(BUNDLE_BYTES)}
    bundle = fleet.bundle(1, files=contents)
    fleet.publish(bundle)
    names = [f"device-{number:04d}" for number in range(count)]
    known = Devices()
    for name in names:  # their keys are made now, so that the collector can check each message
        layout = Layout(folder / name)
        layout.identity.mkdir(parents=True)
        public = device_key(layout).public_key().public_bytes_raw().hex()
        known.keys[name] = public
    change_devices(folder / "devices.json", lambda _: known)
    web, port = brokers.free_port(), brokers.free_port()
    server = serve(fleet.repository.folder, web)
    collected, most, over = Fleet(folder / "devices.json"), 0.0, threading.Event()
    try:
        with (
            brokers.broker(folder, port) as mosquitto,
            Collector(Broker(f"mqtt://127.0.0.1:{port}"), collected) as collector,
        ):
            brokers.wait(lambda: collector.connected and brokers._listens(web), "broker and server")
            context = multiprocessing.get_context("fork")
            results = context.Queue()
            began, before = time.monotonic(), sum(os.times()[:4])
            url, broker = f"http://127.0.0.1:{web}", f"mqtt://127.0.0.1:{port}"
            workers = [
                context.Process(target=work, args=(folder, names[i::WORKERS], url, broker, fleet.keys, results))
                for i in range(WORKERS)
            ]
            for worker in workers:
                worker.start()
            pids = [os.getpid(), server.pid, mosquitto.pid, *(worker.pid or 0 for worker in workers)]
            done: list[tuple[float, int]] = []
            told = 0
            while len(done) < count and (any(worker.is_alive() for worker in workers) or not results.empty()):
                most = max(most, pss_mb(pids))
                over.wait(0.5)
                while not results.empty():
                    done += results.get()
                if len(collected.latest) // 100 > told:
                    told = len(collected.latest) // 100
                    print(f"{told * 100} devices, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            brokers.wait(lambda: len(collected.latest) == count, "all messages", 60)
            took = time.monotonic() - began
            for worker in workers:
                worker.join()
            used = sum(os.times()[:4]) + cpu_s(server.pid) + cpu_s(mosquitto.pid) - before
    finally:
        server.kill()
        server.wait()
    started = {str(fields["bundle"]) for fields in collected.snapshot()}
    assert len(done) == count and started == {"cam-1"}, (len(done), started)
    seconds = sorted(each for each, _ in done)
    traffic = max(received for _, received in done) - bundle.stat().st_size
    print(f"{count} devices updated in {took:.0f} s, {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores")
    print(f"processor time of all processes: {used:.0f} s, {1000 * used / count:.0f} ms a device")
    print(
        f"one device: median {seconds[count // 2]:.2f} s, slowest {seconds[-1]:.2f} s ({WORKERS * THREADS} at a time)"
    )
    print(f"traffic: {bundle.stat().st_size} bytes of the bundle and {traffic} beside it")
    print(f"memory of all processes (PSS): at most {most:.0f} MB; messages refused: {dict(collected.refused)}")


if __name__ == "__main__":
    main()
