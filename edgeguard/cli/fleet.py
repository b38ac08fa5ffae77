"""`edgeguard fleet`: signed bundles for many devices, updates that a device can take back, and how the fleet is."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeguard.cli.ignored import refuse_ignored
from edgeguard.cli.messages import messages_to, on_stderr, on_stdout
from edgeguard.errors import CheckFailed, InputError
from edgeguard.system.extras import how_to_install

if TYPE_CHECKING:
    from edgeguard.fleet.agent import Outcome, Updater
    from edgeguard.sinks.mqtt_client import Broker

app = typer.Typer(no_args_is_help=True, help="Signed bundles for many devices, rollback, and how the fleet is.")
_ROOT = Path("/var/lib/edgeguard-fleet")
Root = Annotated[Path, typer.Option("--root", help="The device's folder.")]
Mqtt = Annotated[str | None, typer.Option(help="Broker for telemetry: mqtt://[user@]host[:port], or mqtts://.")]
PasswordFile = Annotated[Path | None, typer.Option("--mqtt-password-file", help="Password of the MQTT user.")]
CaFile = Annotated[Path | None, typer.Option("--mqtt-ca-file", help="Authority that signed the broker.")]
Keys = Annotated[Path, typer.Option(help="Folder of keys (fleet keygen).")]
Devices = Annotated[Path, typer.Option(help="The file of who belongs to the fleet.")]


@app.command(epilog="Example: edgeguard fleet keygen keys/ --release-keys 3 --threshold 2")
def keygen(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A new folder for keys.")],
    release_keys: Annotated[int, typer.Option(help="Keys that may sign bundles.")] = 1,
    threshold: Annotated[int, typer.Option(help="So many of them have to.")] = 1,
    replace: Annotated[
        str | None, typer.Option(help="Revoke this key of the folder (release-2, online) and make another.")
    ] = None,
) -> None:
    """Make a fleet's keys and the root metadata that devices trust; or revoke one."""
    installed(workstation=True)
    from edgeguard.fleet.workstation.keys import make_keys, replace_key

    if replace is not None:
        refuse_ignored(context, ["release_keys", "threshold"], "is for new keys: --replace makes one of the same kind")
        path = replace_key(folder, replace, datetime.now(UTC))
        on_stdout(f"wrote {path}: {replace} is another key now; publish it (edgeguard fleet publish REPOSITORY)")
        return
    path = make_keys(folder, datetime.now(UTC), release_keys, threshold)
    on_stdout(
        f"wrote {path}: give it to every device (edgeguard fleet join)",
        f"take {folder / 'root'} off line; whoever has it can replace every other key",
    )


@app.command(
    epilog="Example: edgeguard fleet bundle --model m.tflite --config run.toml --golden photos/ --output cam-7.egb"
)
def bundle(
    model: Annotated[Path, typer.Option(help="A .tflite file.")],
    config: Annotated[Path, typer.Option(help="Configuration of edgeguard run.")],
    golden: Annotated[Path, typer.Option(help="Folder of pictures; eight become golden images.")],
    output: Annotated[Path, typer.Option(help="NAME-VERSION.egb; the version only grows.")],
    hardware: Annotated[
        list[str] | None, typer.Option(help="Only for this hardware (pi5, aarch64); again for more.")
    ] = None,
    group: Annotated[list[str] | None, typer.Option(help="Only for this group of devices; again for more.")] = None,
    tolerance: Annotated[int, typer.Option(help="Steps that a golden image's outputs may differ by.")] = 0,
    within: Annotated[float, typer.Option(help="Seconds that a trial takes at most.")] = 60.0,
    frames: Annotated[int, typer.Option(help="Results that a trial wants.")] = 30,
    training_data: Annotated[str | None, typer.Option(help="SHA-256 root of the training data.")] = None,
) -> None:
    """Make an unsigned bundle of a model, a configuration and golden images."""
    installed(workstation=True)
    from edgeguard.fleet.manifest import Health
    from edgeguard.fleet.workstation.build import Selection, build

    selection = Selection(
        tuple(hardware or ()), tuple(group or ()), Health(within_s=within, frames=frames), tolerance, training_data
    )
    made = build(output, model, config, golden, now=datetime.now(UTC), selection=selection)
    count = len(made.golden)
    on_stdout(f"wrote {output}: {len(made.files)} files, {count} golden images, until {made.expires}; not signed yet")


@app.command(epilog="Example: edgeguard fleet sign cam-7.egb --key keys/release")
def sign(
    file: Annotated[Path, typer.Argument(help="A bundle.")],
    key: Annotated[Path, typer.Option(help="A release key.")],
) -> None:
    """Add a signature to a bundle."""
    installed(workstation=True)
    from edgeguard.fleet.workstation.build import sign as sign_bundle

    made, count = sign_bundle(file, key)
    on_stdout(f"signed {made.title} with {key}: {count} signature{'s' if count > 1 else ''}")


@app.command(
    epilog="Example: edgeguard fleet publish repo/ cam-7.egb --share 5   and once a day: edgeguard fleet publish repo/"
)
def publish(
    repository: Annotated[Path, typer.Argument(help="Folder that a web server serves.")],
    file: Annotated[
        Path | None, typer.Argument(help="A signed bundle. [none: say that what is there is fresh]")
    ] = None,
    share: Annotated[float | None, typer.Option(min=0, max=100, help="Percent of the devices. [100]")] = None,
    halt: Annotated[str | None, typer.Option(help="Nobody else gets NAME-VERSION.")] = None,
    resume: Annotated[str | None, typer.Option(help="NAME-VERSION goes on.")] = None,
    keys: Keys = Path("keys"),
) -> None:
    """Publish a bundle to a share of the devices, grow the share, halt it, or say again that all is fresh."""
    installed(workstation=True)
    from edgeguard.fleet.workstation.publish import Repository, change
    from edgeguard.fleet.workstation.publish import publish as publish_bundle

    if sum(given is not None for given in (file, halt, resume)) > 1:
        raise InputError("publish a bundle, --halt one or --resume one: one at a time")
    where, now = Repository(repository, keys), datetime.now(UTC)
    title = halt or resume
    if title is not None:
        made = change(where, title, share=share, halted=halt is not None, now=now)
    elif file is None and share is not None:
        raise InputError("--share belongs to a bundle: name its file, or --resume NAME-VERSION")
    else:
        made = publish_bundle(where, file, share, now=now)
    on_stdout(f"published rollout {made.serial} in {repository}")
    for offer in made.bundles:
        state = "halted" if offer.halted else f"{offer.share:g} % of the devices"
        on_stdout(f"{offer.name}-{offer.version}: {state}")


@app.command(epilog="Example: edgeguard fleet join --root-metadata root.json --device cam-hall   (with sudo, once)")
def join(
    context: typer.Context,
    root_metadata: Annotated[Path, typer.Option(help="root.json of the fleet's keys.")],
    device: Annotated[str | None, typer.Option(help="This device's name. [the host's]")] = None,
    hardware: Annotated[list[str] | None, typer.Option(help="What it is. [found out]")] = None,
    group: Annotated[list[str] | None, typer.Option(help="A group that it belongs to; again for more.")] = None,
    bundle_name: Annotated[str | None, typer.Option("--bundle", help="Take bundles of this name only.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="One-time token (fleet enroll), with --mqtt.")] = None,
    mqtt: Mqtt = None,
    mqtt_password_file: PasswordFile = None,
    mqtt_ca_file: CaFile = None,
    root: Root = _ROOT,
) -> None:
    """Set this device up: whom it trusts, who it is, and a key that never leaves it."""
    import socket

    installed()
    from edgeguard.fleet.identity import LARGEST_ROOT, Device, join, own_hardware
    from edgeguard.fleet.layout import Layout
    from edgeguard.system.foreign import parsing, read_bounded

    _refuse_without_broker(context, mqtt)
    if (token_file is None) != (mqtt is None):
        raise InputError("--token-file and --mqtt belong together: the token goes to the broker")
    data = read_bounded(root_metadata, LARGEST_ROOT, "the root metadata")
    from msgspec import ValidationError, convert
    from tuf.api.metadata import Metadata, Root

    with parsing(str(root_metadata)):
        Metadata[Root].from_bytes(data).signed.get_delegated_role("targets")
    found = {
        "schema": 1, "device": device or socket.gethostname(), "hardware": hardware or own_hardware(),
        "groups": group or (), "bundle": bundle_name,
    }  # fmt: skip
    try:
        me = convert(found, Device)
    except ValidationError as error:
        raise InputError(f"names are letters, digits, dots, dashes and underscores, 64 at most: {error}") from error
    broker, token = _broker(mqtt, mqtt_password_file, mqtt_ca_file), None
    if token_file is not None and broker is not None:  # all files are read before anything is written
        from edgeguard.sinks.mqtt_client import new_client
        from edgeguard.system.addresses import read_token

        token, _ = read_token(token_file), new_client(broker)
    layout = Layout(root)
    public = join(layout, data, me)
    on_stdout(f"{me.device} ({', '.join(me.hardware)}) trusts {root_metadata}; its key is {public.hex()}")
    if token is not None and broker is not None:
        from edgeguard.fleet.enrollment import enroll

        enroll(layout, me, broker, token)
        on_stdout("the token went to the broker; edgeguard fleet status --devices takes it once")


@app.command(epilog="Example: edgeguard fleet agent --repository http://127.0.0.1:8000 --once")
def agent(
    context: typer.Context,
    repository: Annotated[str, typer.Option(help="URL of the repository.")],
    once: Annotated[bool, typer.Option("--once", help="Look once, and end (for a timer).")] = False,
    every: Annotated[float, typer.Option(min=5, help="Seconds between looks; a fifth more or less by chance.")] = 900.0,
    systemd: Annotated[
        bool, typer.Option("--systemd", help="The run is the unit of fleet units; else a child of this agent.")
    ] = False,
    mqtt: Mqtt = None,
    mqtt_password_file: PasswordFile = None,
    mqtt_ca_file: CaFile = None,
    root: Root = _ROOT,
) -> None:
    """On the device: look for a bundle, try it, keep it or take it back; say how things are."""
    installed()
    from edgeguard.fleet.agent import Reporter, run_for_ever, run_once
    from edgeguard.system.termination import clean_end_on_sigterm

    if once:
        refuse_ignored(context, ["every"], "is for an agent that stays: --once looks once")
    _refuse_without_broker(context, mqtt)
    if urlscheme(repository) not in ("http", "https"):
        raise InputError(f"--repository wants http:// or https://, got {repository!r}")
    broker = _broker(mqtt, mqtt_password_file, mqtt_ca_file)
    updater = _updater(root, systemd=systemd)
    with clean_end_on_sigterm(), messages_to(on_stderr):
        try:
            with _linked(updater, broker) as link:
                reporter = Reporter(updater.layout, updater.device, link)
                if once:
                    _say(run_once(updater, repository, reporter, link))
                else:
                    on_stderr(f"{updater.device.device} looks at {repository} every {every:g} s")
                    run_for_ever(updater, repository, reporter, link, every_s=every)
        finally:
            if not systemd:
                updater.service.stop()


@app.command(epilog="Example: edgeguard fleet install cam-7.egb")
def install(
    file: Annotated[Path, typer.Argument(help="A signed bundle, from a stick for instance.")],
    systemd: Annotated[bool, typer.Option("--systemd", help="The run is the unit of fleet units.")] = False,
    root: Root = _ROOT,
) -> None:
    """On the device: install a bundle from a file, with the same checks, trial and rollback."""
    installed()
    from edgeguard.system.termination import clean_end_on_sigterm

    updater = _updater(root, systemd=systemd)
    with clean_end_on_sigterm(), messages_to(on_stderr):
        try:
            _say(updater.install(file))
        finally:
            if not systemd:
                updater.service.stop()


@app.command("run", epilog="Example: edgeguard fleet run --root /var/lib/edgeguard-fleet   (systemd starts it)")
def run_current(
    context: typer.Context,
    root: Root = _ROOT,
    count_only: Annotated[bool, typer.Option("--count-only", help="Count a start, and end (as root, before).")] = False,
    counted: Annotated[bool, typer.Option("--counted", help="The start is counted already.")] = False,
) -> None:
    """On the device: start the current bundle; a bundle on trial only so often."""
    import os

    if count_only:
        refuse_ignored(context, ["counted"], "is for a start: --count-only starts nothing")
    installed()
    from edgeguard.fleet.layout import Layout
    from edgeguard.fleet.probation import count_start
    from edgeguard.fleet.service import edgeguard_command
    from edgeguard.fleet.state import read_state
    from edgeguard.run.restarts import state_folder

    layout = Layout(root.absolute(), state_folder())
    current, taken_back = (read_state(layout).current, None) if counted else count_start(layout)
    if current is None:
        raise InputError(f"no bundle is installed in {root}: edgeguard fleet install FILE")
    if taken_back is not None:
        on_stderr(f"{taken_back}; {current.title} is back")
    if count_only:
        return
    work, slot = layout.work / current.title, layout.slot(current.slot)
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    words = [
        "run",
        str(slot / "model.tflite"),
        "--config",
        str(slot / "config.toml"),
        "--status-file",
        str(layout.status),
    ]
    command = edgeguard_command(*words)
    os.execv(command[0], command)


@app.command(
    epilog="Example: sudo edgeguard fleet units --repository https://updates.example/cams --mqtt mqtts://broker"
)
def units(
    repository: Annotated[str, typer.Option(help="URL of the repository.")],
    every: Annotated[int, typer.Option(min=1, max=10080, help="Minutes between looks.")] = 15,
    mqtt: Mqtt = None,
    root: Root = _ROOT,
    folder: Annotated[Path, typer.Option(help="Where units go.")] = Path("/etc/systemd/system"),
) -> None:
    """On the device: write the systemd units of the run and of the agent with its timer."""
    installed()
    from edgeguard.fleet.units import unit_texts
    from edgeguard.run.service import groups, own_command
    from edgeguard.system.files import write_bytes

    texts = unit_texts(root.absolute(), own_command(), repository, groups(), every_min=every, mqtt=mqtt)
    for name, text in texts.items():
        write_bytes(folder / name, text.encode())
        on_stdout(f"wrote {folder / name}")
    start = "systemctl daemon-reload && systemctl enable --now edgeguard-fleet-agent.timer edgeguard-fleet-run"
    on_stdout(f"start them with: {start}")


@app.command(epilog="Example: edgeguard fleet enroll cam-hall --devices devices.json > token")
def enroll(
    device: Annotated[str, typer.Argument(help="The new device's name.")],
    devices: Devices = Path("devices.json"),
) -> None:
    """Expect a device: print a one-time token for its fleet join."""
    installed(workstation=True)
    from edgeguard.fleet.workstation.devices import change_devices

    expecting = change_devices(devices, lambda known: known.expecting(device, datetime.now(UTC)))
    on_stdout(expecting.tokens[device].token)


@app.command(epilog="Example: edgeguard fleet revoke cam-hall --devices devices.json")
def revoke(
    device: Annotated[str, typer.Argument(help="The lost device's name.")],
    devices: Devices = Path("devices.json"),
) -> None:
    """A lost device's messages count for nothing from now on."""
    installed(workstation=True)
    from edgeguard.fleet.workstation.devices import change_devices

    change_devices(devices, lambda known: known.without(device, datetime.now(UTC)))
    on_stdout(f"{device} is revoked: take its user from the broker as well (docs/fleet.md)")


@app.command(epilog="Example: edgeguard fleet status --mqtt mqtt://127.0.0.1 --web 127.0.0.1:8081")
def status(
    context: typer.Context,
    mqtt: Annotated[str, typer.Option(help="Broker: mqtt://[user@]host[:port], or mqtts://.")],
    web: Annotated[str | None, typer.Option(help="Serve the page, /fleet.json and /metrics at HOST:PORT.")] = None,
    web_token_file: Annotated[Path | None, typer.Option(help="Token of the page; wanted beyond loopback.")] = None,
    devices: Annotated[Path | None, typer.Option(help="Who belongs to the fleet; also takes enrollments.")] = None,
    repository: Annotated[Path | None, typer.Option(help="Watch its rollouts, and halt what fails.")] = None,
    keys: Keys = Path("keys"),
    listen: Annotated[float, typer.Option(min=0.1, help="Without --web: print JSON after so many seconds.")] = 65.0,
    mqtt_password_file: PasswordFile = None,
    mqtt_ca_file: CaFile = None,
) -> None:
    """Versions, health, disagreement, certified share, drift and refusals of all devices: a page, or JSON once."""
    if web is None:
        refuse_ignored(context, ["web_token_file"], "is for --web")
    else:
        refuse_ignored(context, ["listen"], "is for a look without --web")
    if repository is None:
        refuse_ignored(context, ["keys"], "is for --repository: rollouts are halted with them")
    installed(workstation=True)
    from edgeguard.fleet.workstation.watch import Halts, watch
    from edgeguard.sinks.mqtt_client import Broker
    from edgeguard.system.addresses import read_token
    from edgeguard.system.termination import clean_end_on_sigterm

    token = None if web_token_file is None else read_token(web_token_file)
    halts = None if repository is None else Halts(repository, keys)
    if devices is None:
        on_stderr("without --devices nobody proves who a message is from: do not trust what you see")
    with clean_end_on_sigterm(), messages_to(on_stderr):
        found = watch(
            Broker(mqtt, mqtt_password_file, mqtt_ca_file), devices, halts, web=web, token=token, seconds=listen
        )
    on_stdout(found)


def _refuse_without_broker(context: typer.Context, mqtt: str | None) -> None:
    if mqtt is None:
        refuse_ignored(context, ["mqtt_password_file", "mqtt_ca_file"], "is for --mqtt")


def _updater(root: Path, *, systemd: bool) -> "Updater":
    from edgeguard.fleet.agent import Updater
    from edgeguard.fleet.identity import read_device
    from edgeguard.fleet.layout import Layout
    from edgeguard.fleet.service import RUN_STATE, ChildService, SystemdService, edgeguard_command
    from edgeguard.fleet.trust import first_root

    layout = Layout(root.absolute(), RUN_STATE if systemd else None)
    first_root(layout)
    device = read_device(layout)
    layout.make()
    command = edgeguard_command("fleet", "run", "--root", str(layout.root))
    return Updater(layout, device, SystemdService() if systemd else ChildService(command))


def _linked(updater: "Updater", broker: "Broker | None") -> Any:
    from contextlib import nullcontext

    if broker is None:
        return nullcontext()
    from edgeguard.fleet.link import Link

    return Link(broker, updater.device.device, updater.layout.root / "outbox.json")


def _broker(url: str | None, password_file: Path | None, ca_file: Path | None) -> "Broker | None":
    if url is None:
        return None
    from edgeguard.sinks.mqtt_client import Broker

    return Broker(url, password_file, ca_file)


def _say(outcome: "Outcome") -> None:
    if outcome.kind == "taken back":
        raise CheckFailed(outcome.text)
    on_stdout(outcome.text)


def urlscheme(url: str) -> str:
    """The scheme of a URL, or nothing where it is none."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.scheme if parts.hostname else ""


def installed(*, workstation: bool = False) -> None:
    """Refuse in one line where the extra is missing, or the workstation's part, which a board's wheel leaves out."""
    try:
        import cryptography
        import tuf
    except ImportError as error:
        raise InputError(f"fleets need more packages: {how_to_install('fleet')}") from error
    del cryptography, tuf
    if workstation:
        from importlib.util import find_spec

        if find_spec("edgeguard.fleet.workstation") is None:
            raise InputError("this is a workstation's command: a board's wheel does not hold it (docs/fleet.md)")
