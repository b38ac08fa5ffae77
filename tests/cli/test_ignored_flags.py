"""Every flag of every command: when it would have no effect, and that it is then refused by name.

The table below has a line for each flag. A flag that always has an effect says `ALWAYS`; the others give command lines
in which it would be ignored, alone where the refusal begins with the flag, else beside what the refusal says.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from cli.launch import refused, run
from commands import here

from edgeguard.cli.main import app
from edgeguard.demo.assets import bundled_clip, bundled_model, bundled_program

#: It changes what is done, printed or written, whatever else is given.
ALWAYS = "always has an effect"
PERMISSION = "a permission: says that code may run, not that it must"

Lines = list[str | tuple[str, str]]
MODEL, PROGRAM, CLIP = str(bundled_model()), str(bundled_program()), str(bundled_clip())
EVALUATE = f"{MODEL} --images . --output out"
SHEET = "--output s.pdf"
RUN = f"--source {CLIP}"
CERTIFY = ". --output p.toml --certify 1"
NOISE = f"{MODEL} --images . --smoothing 0.25 --output o"
LSP = "lsp --data . --output p"
JOIN, AGENT = "--root-metadata key --root r", "--repository http://h --root r"
SENSOR = "--guard fd-jpeg --source synthetic:cards"

TABLE: dict[str, dict[str, str | Lines]] = {
    "convert": {
        "--output": ALWAYS, "--calibrate": ALWAYS, "--eval": ALWAYS, "--guard": ALWAYS,
        "--place": [f"{PROGRAM} --guard none --place input", f"{PROGRAM} --bake-guard --place input"],
        "--patch-guard": ALWAYS,
        "--bake-guard": [(f"{PROGRAM} --bake-guard --guard none", "--guard none leaves nothing to bake")],
        "--preprocess": [f"{PROGRAM} --preprocess imagenet --mean 127 --std 127"],
        "--mean": [(f"{PROGRAM} --mean 127", "--mean and --std go together")],
        "--std": [(f"{PROGRAM} --std 127", "--mean and --std go together")],
        "--size": ALWAYS, "--crop": ALWAYS, "--labels": ALWAYS,
        "--arch": [f"{PROGRAM} --arch a:b"],
        "--weights": [f"{PROGRAM} --weights ema"],
        "--trust-pickle": PERMISSION,
        "--onnx2tf": [f"{PROGRAM} --onnx2tf"],
        "--boxes": [f"{PROGRAM} --boxes yxyx"],
        "--objectness": [f"{PROGRAM} --objectness"],
        "--precision": ALWAYS,
        "--io": [(f"{PROGRAM} --precision float16 --io int8", "its --io is float32")],
        "--keep-float": [f"{PROGRAM} --precision float16 --keep-float x"],
        "--auto-mixed": [(f"{PROGRAM} --precision float16 --auto-mixed", "--auto-mixed are for int8")],
        "--range": [f"{PROGRAM} --range minmax --precision float16"],
        "--round": [
            (f"{PROGRAM} --round adaptive --precision float16", "--round adaptive is for int8"),
            (f"{PROGRAM} --round adaptive --auto-mixed", "give it or --round adaptive"),
        ],
        "--finetune": ALWAYS,
        "--epochs": [f"{PROGRAM} --epochs 2"],
        "--target": ALWAYS, "--runtime": ALWAYS, "--min-agreement": ALWAYS, "--min-snr": ALWAYS, "--report": ALWAYS,
        "--manifest": ALWAYS, "--json": ALWAYS,
    },
    "run": {
        "--camera": [(f"{RUN} --camera 0", "--microphone N or --source X (one of them)")],
        "--source": [(f"{RUN} --camera 0", "--microphone N or --source X (one of them)")],
        "--microphone": [(f"{RUN} --microphone 0", "--microphone N or --source X (one of them)")],
        "--hop": [f"{RUN} --hop 0.2"],
        "--resample": [f"{RUN} --resample"],
        "--label-on": [f"{RUN} --label-on 0.5"],
        "--label-off": [f"{RUN} --label-off 0.5"],
        "--quiet": [f"{RUN} --quiet -40"],
        "--config": ALWAYS,
        "--size": [(f"{RUN} --size 640x480", "asked of local cameras only")],
        "--camera-fps": [(f"{RUN} --camera-fps 5", "asked of local cameras only")],
        "--key-file": [(f"{RUN} --key-file key", "a key is for the stream of an edgeguard sensor")],
        "--poll": [(f"{RUN} --poll 1", "--poll is for the http:// URL of a still picture")],
        "--lost-after": [f"{RUN} --lost-after 1"],
        "--give-up-after": [f"{RUN} --give-up-after 0"],
        "--guard": ALWAYS, "--patch-guard": ALWAYS, "--labels": ALWAYS, "--crop": ALWAYS, "--delegate": ALWAYS,
        "--fallback": [f"{RUN} --delegate cpu --fallback {MODEL}"],
        "--isolate": ALWAYS, "--threads": ALWAYS, "--require-model": ALWAYS, "--require-guard": ALWAYS,
        "--every": ALWAYS,
        "--fps": [f"{RUN} --fps 5", "--source 0 --every-frame --fps 5"],
        "--region": ALWAYS,
        "--every-frame": [f"{RUN} --every-frame"],
        "--drop": [f"{RUN} --drop oldest"],
        "--track": [(f"{RUN} --track", "--track is for detectors")],
        "--track-score": [f"{RUN} --track-score 0.4"],
        "--webhook": [f"{RUN} --webhook http://127.0.0.1:9/"],
        "--webhook-token-file": [f"{RUN} --webhook-token-file t"],
        "--decode-scale": [f"{RUN} --decode-scale 2", f"{RUN} --decode-scale 2 --guard none"],
        "--compare": [f"{RUN} --compare --compare-every 0"],
        "--smooth": ALWAYS,
        "--smooth-sigma": [f"{RUN} --smooth-sigma 0.5"],
        "--smooth-ms": [f"{RUN} --smooth-ms 50"],
        "--compare-every": ALWAYS, "--frames": ALWAYS, "--output": ALWAYS,
        "--rotate-mb": [f"{RUN} --rotate-mb 1", f"{RUN} --rotate-mb 1 --output -"],
        "--rotate-keep": [f"{RUN} --rotate-keep 1", f"{RUN} --rotate-keep 1 --output r.jsonl"],
        "--save": ALWAYS, "--status-file": ALWAYS, "--web": ALWAYS,
        "--web-token-file": [f"{RUN} --web-token-file t"],
        "--metrics": ALWAYS,
        "--metrics-token-file": [f"{RUN} --metrics-token-file t"],
        "--stale-after": [f"{RUN} --stale-after 5"],
        "--mqtt": ALWAYS,
        "--mqtt-name": [f"{RUN} --mqtt-name x"],
        "--mqtt-picture-every": [f"{RUN} --mqtt-picture-every 5"],
        "--mqtt-password-file": [f"{RUN} --mqtt-password-file x"],
        "--mqtt-ca-file": [f"{RUN} --mqtt-ca-file x"],
        "--alarm-disagreement": [f"{RUN} --alarm-disagreement 0.1"],
        "--alarm-certified": [f"{RUN} --alarm-certified 0.5 --guard fd-jpeg"],
        "--alarm-unproven": [f"{RUN} --alarm-unproven 0.5 --guard fd-jpeg"],
        "--alarm-certified-patch": [f"{RUN} --alarm-certified-patch 5"],
        "--frozen-after": [f"{RUN} --frozen-after 5"],
        "--alarm-window": [f"{RUN} --alarm-window 5"],
        "--record": ALWAYS,
        "--record-seconds": [f"{RUN} --record-seconds 2"],
        "--record-quota-mb": [f"{RUN} --record-quota-mb 2"],
        "--json": [f"{RUN} --json --output -"],
    },
    "evaluate run": {
        "--images": ALWAYS, "--output": ALWAYS, "--protocol": ALWAYS, "--limit": ALWAYS, "--seed": ALWAYS,
        "--minutes": ALWAYS,
        "--workers": [f"{EVALUATE} --workers 2 --ray auto"],
        "--ray": ALWAYS,
        "--surrogate": [f"{EVALUATE} --surrogate s.tflite --protocol feature-distillation-table1"],
        "--target": ALWAYS, "--json": ALWAYS,
    },
    "evaluate compare": {"--json": ALWAYS},
    "evaluate certify": {
        "--images": ALWAYS, "--limit": ALWAYS, "--json": ALWAYS, "--partitions": ALWAYS,
        "--patch": [
            ". --images . --partitions --patch 5",
            (f"{MODEL} --images . --patch 5 --patch 6", "--patch more than once is for --method"),
        ],
        "--method": [". --images . --partitions --method masking"],
        "--masks": [". --images . --partitions --masks 6", f"{MODEL} --images . --method one-pass --masks 6"],
        "--output": [". --images . --partitions --output o", f"{MODEL} --images . --output o"],
        "--attack": [
            ". --images . --partitions --attack 5", f"{MODEL} --images . --attack 5",
            f"{MODEL} --images . --method masking --attack 5",
        ],
        "--workers": [". --images . --partitions --workers 1", f"{NOISE} --workers 1 --ray auto"],
        "--smoothing": [
            (f"{NOISE} --patch 2", "--patch is another certificate than --smoothing"),
            (f"{NOISE} --partitions", "--partitions is another certificate than --smoothing"),
        ],
        "--draws": [". --images . --draws 100"], "--alpha": [". --images . --alpha 0.01"],
        "--joint": [". --images . --joint"], "--noise-place": [". --images . --noise-place input"],
        "--seed": [". --images . --seed 1"],
        "--ray": [". --images . --ray auto"],
    },
    "evaluate trust": {
        "--images": ALWAYS, "--limit": ALWAYS, "--alpha": ALWAYS, "--beta": ALWAYS, "--output": ALWAYS,
        "--json": ALWAYS,
    },
    "evaluate matrix": {
        "--images": ALWAYS, "--output": ALWAYS, "--limit": ALWAYS, "--eps": ALWAYS, "--adaptive-only": ALWAYS,
        "--codec": ALWAYS, "--workers": ALWAYS, "--json": ALWAYS,
    },
    "train": {
        "--model": ALWAYS, "--data": ALWAYS, "--output": ALWAYS, "--size": ALWAYS, "--epochs": ALWAYS,
        "--minutes": ["--data . --minutes 5 --partitions 3", "--data . --minutes 5 --task audio"],
        "--codec": ALWAYS,
        "--codec-share": ["--data . --codec-share 0.5"],
        "--adversarial": ALWAYS,
        "--eps": ["--data . --eps 4"],
        "--smoothing": ALWAYS,
        "--sigma": ["--data . --sigma 0.5"],
        "--learning-rate": ALWAYS, "--limit": ALWAYS, "--seed": ALWAYS, "--json": ALWAYS,
        "--batch": ALWAYS, "--flip": ALWAYS, "--shift": ALWAYS, "--cutout": ALWAYS, "--light": ALWAYS,
        "--mixup": ALWAYS,
        "--exclude": ALWAYS, "--overlay": ALWAYS, "--partitions": ALWAYS, "--task": ALWAYS, "--first-layer": ALWAYS,
        "--features": ["--data . --features stft"], "--input": ["--data . --input codes"],
        "--order": ["--data . --order tour"], "--leave-out": ["--data . --leave-out all"],
        "--rate": ["--data . --rate 8000"],
    },
    "data keygen": {},
    "data manifest": {
        "--output": ALWAYS, "--key": ALWAYS, "--source": ALWAYS, "--licence": ALWAYS, "--collected": ALWAYS,
        "--exclude": ALWAYS, "--json": ALWAYS,
    },
    "data verify": {"--manifest": ALWAYS, "--public-key": ALWAYS, "--exclude": ALWAYS, "--json": ALWAYS},
    "data audit": {"--output": ALWAYS, "--trusted": ALWAYS, "--limit": ALWAYS, "--threshold": ALWAYS, "--json": ALWAYS},
    "poison make": {
        "--data": ALWAYS, "--output": ALWAYS, "--size": ALWAYS, "--limit": ALWAYS, "--budget": ALWAYS,
        "--seed": ALWAYS, "--json": ALWAYS,
        "--model": [f"{LSP} --model resnet8"], "--width": [f"{LSP} --width 8"], "--epochs": [f"{LSP} --epochs 3"],
        "--target": [f"{LSP} --target x.png"], "--as": [f"{LSP} --as dog"], "--eps": [f"{LSP} --eps 4"],
        "--steps": [f"{LSP} --steps 4"], "--restarts": [f"{LSP} --restarts 4"], "--codec": [f"{LSP} --codec fd"],
        "--gradient": [
            f"{LSP} --gradient drawn",
            ("em-class --data . --output p --gradient drawn", "--gradient is for --codec"),
        ],
    },
    "poison evaluate": {"--output": ALWAYS, "--workers": ALWAYS, "--json": ALWAYS},
    "fleet keygen": {
        "--release-keys": ["k --replace online --release-keys 2"], "--threshold": ["k --replace online --threshold 2"],
        "--replace": ALWAYS,
    },
    "fleet bundle": {
        "--model": ALWAYS, "--config": ALWAYS, "--golden": ALWAYS, "--output": ALWAYS, "--hardware": ALWAYS,
        "--group": ALWAYS, "--tolerance": ALWAYS, "--within": ALWAYS, "--frames": ALWAYS, "--training-data": ALWAYS,
    },
    "fleet sign": {"--key": ALWAYS},
    "fleet publish": {"--share": ["r --share 5"], "--halt": ALWAYS, "--resume": ALWAYS, "--keys": ALWAYS},
    "fleet join": {
        "--root-metadata": ALWAYS, "--device": ALWAYS, "--hardware": ALWAYS, "--group": ALWAYS, "--bundle": ALWAYS,
        "--token-file": [(f"{JOIN} --token-file key", "--token-file and --mqtt belong together")],
        "--mqtt": [(f"{JOIN} --mqtt mqtt://h", "--token-file and --mqtt belong together")],
        "--mqtt-password-file": [f"{JOIN} --mqtt-password-file key"],
        "--mqtt-ca-file": [f"{JOIN} --mqtt-ca-file key"],
        "--root": ALWAYS,
    },
    "fleet agent": {
        "--repository": ALWAYS, "--once": ALWAYS, "--every": [f"{AGENT} --once --every 9"], "--systemd": ALWAYS,
        "--mqtt": ALWAYS,
        "--mqtt-password-file": [f"{AGENT} --mqtt-password-file key"],
        "--mqtt-ca-file": [f"{AGENT} --mqtt-ca-file key"],
        "--root": ALWAYS,
    },
    "fleet install": {"--systemd": ALWAYS, "--root": ALWAYS},
    "fleet run": {"--root": ALWAYS, "--count-only": ALWAYS, "--counted": ["--count-only --counted"]},
    "fleet units": {
        "--repository": ALWAYS, "--every": ALWAYS, "--folder": ALWAYS, "--mqtt": ALWAYS, "--root": ALWAYS,
    },
    "fleet enroll": {"--devices": ALWAYS},
    "fleet revoke": {"--devices": ALWAYS},
    "fleet status": {
        "--mqtt": ALWAYS, "--web": ALWAYS, "--devices": ALWAYS, "--repository": ALWAYS,
        "--web-token-file": ["--mqtt mqtt://h --web-token-file key"],
        "--keys": ["--mqtt mqtt://h --keys k"],
        "--listen": ["--mqtt mqtt://h --web 127.0.0.1:0 --listen 3"],
        "--mqtt-password-file": ALWAYS, "--mqtt-ca-file": ALWAYS,
    },
    "sensor": {
        "--guard": ALWAYS,
        "--camera": [(f"{SENSOR} --camera 0", "--camera N or --source X (one of them)")],
        "--source": [(f"{SENSOR} --camera 0", "--camera N or --source X (one of them)")],
        "--listen": ALWAYS, "--key-file": ALWAYS, "--token-file": ALWAYS,
        "--size": [(f"{SENSOR} --size 640x480", "asked of local cameras only")],
        "--camera-fps": [(f"{SENSOR} --camera-fps 5", "asked of local cameras only")],
    },
    "bench": {
        "--guard": ALWAYS, "--image": ALWAYS, "--labels": ALWAYS, "--seconds": ALWAYS, "--threads": ALWAYS,
        "--json": ALWAYS,
    },
    "demo": {
        "--output": ["--cards c.pdf --output d"], "--cards": ALWAYS, "--json": ["--cards c.pdf --json"],
        "--detector": ["--cards c.pdf --detector"],
    },
    "doctor": {"--json": ALWAYS},
    "patch make": {
        "--output": ALWAYS,
        "--target": [
            (f"{MODEL} --output p --target stop --untargeted", "say --target LABEL, or --untargeted"),
            f"{MODEL} --output p --mode vanish --target stop",
        ],
        "--untargeted": [
            (f"{MODEL} --output p --target stop --untargeted", "say --target LABEL, or --untargeted"),
            f"{MODEL} --output p --mode create --untargeted",
        ],
        "--mode": ALWAYS, "--label": [f"{MODEL} --output p --untargeted --label stop"],
        "--card": [
            f"{MODEL} --output p --untargeted --images . --card stop",
            f"{MODEL} --output p --untargeted --card yield --object o.jpg --label stop --mm 9x9",
        ],
        "--object": [f"{MODEL} --output p --untargeted --images . --object o.jpg"],
        "--mm": [f"{MODEL} --output p --untargeted --mm 600x600"],
        "--mask": [f"{MODEL} --output p --untargeted --mask m.png"],
        "--mount": [f"{MODEL} --output p --untargeted --mount on"],
        "--images": ALWAYS, "--size": ALWAYS,
        "--at": [  # one x,y goes into patch.json with --images too, where patch sheet finds it
            f"{MODEL} --output p --untargeted --images . --at search",
            f"{MODEL} --output p --untargeted --images . --at 0,0 --at 0.2,0",
        ],
        "--naturalness": [f"{MODEL} --output p --untargeted --images . --naturalness 0.1"],
        "--bend": [f"{MODEL} --output p --untargeted --images . --bend 0.03"],
        "--backgrounds": [f"{MODEL} --output p --untargeted --images . --backgrounds ."],
        "--printer": [f"{MODEL} --output p --untargeted --images . --printer p.json"],
        "--shape": ALWAYS, "--through-guard": ALWAYS, "--steps": ALWAYS, "--batch": ALWAYS, "--smoothness": ALWAYS,
        "--angle": [f"{MODEL} --output p --untargeted --images . --angle 20"],
        "--frame": [f"{MODEL} --output p --untargeted --images . --frame 320x240"],
        "--seed": ALWAYS, "--json": ALWAYS,
    },
    "patch sheet": {
        "--output": ALWAYS, "--arm": ALWAYS,
        "--card": [f"{SHEET} --card yield --object o.jpg --label stop --mm 9x9"],
        "--object": ALWAYS,
        "--label": [f"{SHEET} --label stop"],
        "--mm": [f"{SHEET} --mm 600x600"], "--mask": [f"{SHEET} --mask m.png"], "--mount": [f"{SHEET} --mount on"],
        "--patch": [f"{SHEET} --patch p", f"{SHEET} --arm plain --patch p --size 10%"],
        "--size": [f"{SHEET} --size 10%"],
        "--card-mm": [f"{SHEET} --card-mm 90 --object o.jpg --label stop --mm 9x9"],
        "--tag-mm": ALWAYS, "--page": ALWAYS, "--number": ALWAYS,
        "--seed": [f"{SHEET} --seed 1", f"{SHEET} --arm plain --seed 1"],
    },
    "patch check": {"--sheet": ALWAYS, "--bar-mm": ALWAYS, "--json": ALWAYS},
    "patch calibrate": {"--output": ALWAYS, "--sheet": ALWAYS, "--json": ALWAYS},
    "fieldtest plan": {
        "--model": ALWAYS, "--distances": ALWAYS, "--angles": ALWAYS, "--lights": ALWAYS, "--passes": ALWAYS,
        "--interval": ["s s.pdf --passes 2 --interval 10 --json"],  # without --json the plan's text tells what it needs
        "--effect": ["s s.pdf --effect 20 --json"], "--control-rate": ["s s.pdf --control-rate 9 --json"],
        "--agreement": ["s s.pdf --agreement 0.5 --json"],
        "--frames": ALWAYS, "--field-of-view": ALWAYS, "--print-scale": ALWAYS, "--json": ALWAYS,
    },
    "fieldtest record": {
        "--source": ALWAYS,
        "--light": ["s --source synthetic:session --light dim"],
        "--drive-by": ALWAYS, "--port": ALWAYS,
        "--host": ["s --host 0.0.0.0"],
        "--token-file": ["s --token-file t"],
        "--sheets": ["s --sheets a.pdf"],
        "--seed": ["s --seed 1"],
        "--model": ["s --untagged clean --model m.tflite"],
        "--untagged": ALWAYS,
        "--every": ["s --every 5"],
    },
    "fieldtest import": {
        "--plan": ALWAYS, "--light": ALWAYS, "--field-of-view": ALWAYS, "--gap": ALWAYS, "--film-fps": ALWAYS,
        "--port": ALWAYS, "--workers": ALWAYS, "--json": ALWAYS,
    },
    "fieldtest score": {
        "--model": ALWAYS, "--certify": ALWAYS, "--guard": ALWAYS, "--memory": ALWAYS, "--why": ALWAYS,
        "--workers": ALWAYS, "--json": ALWAYS,
    },
    "fieldtest report": {"--output": ALWAYS, "--films": ALWAYS},
    "firmware list": {"--json": ALWAYS},
    "firmware show": {},
    "firmware export": {"--guard": ALWAYS, "--output": ALWAYS},
    "firmware apply": {
        "--to": ALWAYS,
        "--guard": ["vc0706 --to x --guard fd-jpeg --value 100", "openmv-n6 --to x --guard fd-jpeg --script s.py"],
        "--value": ["openmv-n6 --to x --value 50 --script s.py"],
        "--script": ["vc0706 --to x --script s.py"],
    },
    "firmware probe": {"--guard": ALWAYS, "--json": ALWAYS},
    "firmware verify": {"--guard": ALWAYS, "--frames": ALWAYS},
    "firmware ports": {"--json": ALWAYS},
    "guard design": {
        "--output": ALWAYS,
        "--as-bands": [f"{CERTIFY} --as-bands 4"],
        "--as-step": [f"{CERTIFY} --as-step 8"],
        "--md-step": [f"{CERTIFY} --md-step 8"],
        "--color": ALWAYS,
        "--by": [f"{CERTIFY} --by sigma"],
        "--certify": ALWAYS, "--room": ALWAYS, "--json": ALWAYS,
    },
    "guard show": {"--output": ALWAYS, "--json": ALWAYS},
    "guard apply": {"--output": ALWAYS, "--guard": ALWAYS, "--pass": ALWAYS, "--json": ALWAYS},
    "guard bake": {"--output": ALWAYS, "--size": ALWAYS, "--guard": ALWAYS},
    "guard search": {
        "--images": ALWAYS, "--output": ALWAYS, "--eps": ALWAYS, "--limit": ALWAYS, "--workers": ALWAYS,
        "--json": ALWAYS,
    },
    "guard certify": {
        "--guard": ALWAYS,
        "--first-pass": ["i.png --guard fd-jpeg --first-pass --json"],
        "--output": ["i.png --guard fd-jpeg --output m.png --json"],
        "--json": ALWAYS,
    },
    "model show": {"--json": ALWAYS},
    "model verify": {
        "--manifest": ALWAYS, "--data": ALWAYS, "--training": ALWAYS,
        "--public-key": [f"{MODEL} --manifest m.txt --public-key key"],
    },
    "model bom": {"--data": ALWAYS, "--output": ALWAYS},
    "config check": {},
    "config show": {"--json": ALWAYS},
    "config schema": {},
    "config table": {},
    "service install": {"--config": ALWAYS, "--unit": ALWAYS, "--no-start": ALWAYS},
}  # fmt: skip


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    """Each command with its flags, from the parser itself."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))
    if not hasattr(command, "commands"):
        options = {parameter.opts[0] for parameter in command.params if parameter.param_type_name == "option"}
        yield " ".join(path), options


def test_a_folder_that_is_called_like_a_camera_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "0").mkdir()
    monkeypatch.chdir(tmp_path)
    done = here("run", "--source", "0", "--lost-after", "5")
    assert "--lost-after" not in done.stderr and done.returncode == 3


def test_the_table_has_every_flag_of_every_command() -> None:
    found = dict(_commands(typer.main.get_command(app)))
    assert {command: set(flags) for command, flags in TABLE.items()} == found


#: Of `convert` these are tried in `make test`, the others in `make test-full`.
QUICK_CONVERT = ("--place", "--arch")

IGNORED = [
    pytest.param(
        command,
        *((line, f"edgeguard: {flag} ") if isinstance(line, str) else line),
        id=f"{command} {flag}",
        marks=[pytest.mark.full] if command == "convert" and flag not in QUICK_CONVERT else [],  # a process with torch
    )
    for command, flags in TABLE.items()
    for flag, lines in flags.items()
    if isinstance(lines, list)
    for line in lines
]


@pytest.mark.parametrize(("command", "line", "said"), IGNORED)
def test_a_flag_without_effect_is_refused(
    command: str, line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    if command in ("convert", "evaluate run", "train"):
        pytest.importorskip("torch", reason="needs torch, from the attack or the convert extra")
    if command == "convert":  # goes on in a child
        done = run(command, *line.split(), "--output", tmp_path / "made.tflite")
    else:
        done = here(*command.split(), *line.split())
    refused(done, 2, said)
    assert list(tmp_path.iterdir()) == [key], "nothing was written"
