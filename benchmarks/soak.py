"""A long run: memory, file descriptors, threads and the age of results, sampled all the way.

    python benchmarks/soak.py [MODEL.tflite] [--minutes 120] [--output soak.csv] [--chart soak.svg]

`edgeguard run` on 1280x720 Motion JPEG at 30 frames/s over HTTP on loopback, with a rotating output, metrics and the
web page; the page's state is read every ten seconds, as a phone would.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from mjpeg_server import mjpeg_server
from run import frames

from edgeguard.reporting.charts import Point, Series, chart

EVERY_S = 10.0
PORT = 18077  # and the next one, for the metrics
FIELDS = ("seconds", "rss_mb", "descriptors", "threads", "frames", "age_p50_ms", "age_p95_ms", "dropped", "lost")


def main() -> None:
    """Run, sample, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="default: the bundled card model")
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--output", type=Path, default=Path("soak.csv"))
    parser.add_argument("--chart", type=Path, default=Path("soak.svg"))
    parser.add_argument("--guard", default="fd-jpeg")
    parser.add_argument("--port", type=int, default=PORT, help="of the page; the next one is that of the metrics")
    parser.add_argument("--from-csv", type=Path, help="only summarise and draw the samples of an earlier run")
    arguments = parser.parse_args()
    if arguments.from_csv:
        with open(arguments.from_csv, newline="") as stream:
            samples = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]
        summary(samples)
        arguments.chart.write_text(memory_chart(samples))
        return
    with tempfile.TemporaryDirectory() as folder, mjpeg_server(frames(None), 30) as url:
        command = [sys.executable, "-c", "from edgeguard.cli.main import main; main()", "run"]
        command += [arguments.model] if arguments.model else []
        command += ["--source", url, "--guard", arguments.guard, "--output", f"{folder}/r.jsonl", "--rotate-mb", "5"]
        command += [
            "--web",
            f"127.0.0.1:{arguments.port}",
            "--metrics",
            f"127.0.0.1:{arguments.port + 1}",
            "--compare-every",
            "10",
        ]
        began = time.monotonic()
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            print(f"first result after {first_result_s(process, Path(folder) / 'r.jsonl', began):.2f} s", flush=True)
            samples = watch(process.pid, arguments.port, 60 * arguments.minutes, arguments.output)
        finally:
            process.terminate()
            code = process.wait(20)
    print(f"ended with exit code {code}")
    summary(samples)
    arguments.chart.write_text(memory_chart(samples))


def first_result_s(process: "subprocess.Popen[bytes]", output: Path, began: float) -> float:
    """Seconds from the start of the process to its first line."""
    while not output.exists() or not output.stat().st_size:
        if process.poll() is not None:
            raise SystemExit(f"the run ended before a result, exit code {process.returncode}: is the port free?")
        time.sleep(0.01)
    return time.monotonic() - began


def watch(pid: int, port: int, seconds: float, output: Path) -> list[dict[str, float]]:
    """Samples until the time is over or the run ends."""
    samples, began = [], time.monotonic()
    with open(output, "w", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS)
        writer.writeheader()
        while time.monotonic() - began < seconds:
            time.sleep(EVERY_S)
            try:
                sample = take(pid, port, time.monotonic() - began)
            except OSError as error:
                print(f"the run is gone: {error}")
                break
            samples.append(sample)
            writer.writerow(sample)
            stream.flush()
    return samples


def take(pid: int, port: int, seconds: float) -> dict[str, float]:
    """One sample of the process and of what it says of itself."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/state.json", timeout=30) as answer:
        counters = json.load(answer)["counters"]
    return {
        "seconds": round(seconds, 1),
        "rss_mb": int(status["VmRSS"].split()[0]) / 1024,
        "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "threads": int(status["Threads"]),
        "frames": counters["frames"],
        "age_p50_ms": counters["age_ms"]["p50"],
        "age_p95_ms": counters["age_ms"]["p95"],
        "dropped": counters["dropped"],
        "lost": counters["lost"],
    }


def summary(samples: list[dict[str, float]]) -> None:
    """The drift after the first minute, and the ranges."""
    steady = [s for s in samples if s["seconds"] > 60] or samples
    tenth = max(len(steady) // 10, 1)
    first, last = ([s["rss_mb"] for s in part] for part in (steady[:tenth], steady[-tenth:]))
    drift = sum(last) / len(last) - sum(first) / len(first)
    print(f"{samples[-1]['seconds'] / 60:.0f} minutes, {samples[-1]['frames']} results, "
          f"{samples[-1]['dropped']} dropped, {samples[-1]['lost']} lost")  # fmt: skip
    print(f"resident memory {min(first):.1f} MB after a minute, drift {drift:+.2f} MB, peak "
          f"{max(s['rss_mb'] for s in samples):.1f} MB")  # fmt: skip
    for name in ("descriptors", "threads", "age_p50_ms", "age_p95_ms"):
        values = [s[name] for s in steady]
        print(f"{name} {min(values):g} to {max(values):g}")


def memory_chart(samples: list[dict[str, float]]) -> str:
    """Resident memory over time, as SVG."""
    step = max(len(samples) // 60, 1)
    lines = []
    for name, key in (
        ("resident memory, MB", "rss_mb"),
        ("age of a result, 95 %, ms", "age_p95_ms"),
        ("threads", "threads"),
    ):
        lines.append(Series(name, tuple(Point(s["seconds"] / 60, s[key], s[key], s[key]) for s in samples[::step])))
    ticks = [float(round(samples[-1]["seconds"] / 60 * i / 6)) for i in range(7)]
    svg = chart(lines, "minutes", "MB, ms, count", ticks, (0, 160), "")
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="12" ', 1)


if __name__ == "__main__":
    main()
