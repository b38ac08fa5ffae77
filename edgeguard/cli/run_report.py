"""What `edgeguard run` says at its end."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from edgeguard.cli.messages import beside_results, on_stdout

if TYPE_CHECKING:
    from edgeguard.run.runner import Outcome


def summary_of(outcome: "Outcome") -> dict[str, Any]:
    """What a run counted, for `--json`."""
    found = {**outcome.pipeline.counters.to_dict(), "sinks": outcome.status.sinks_to_dict()}
    status = outcome.status
    if rules := _rules(outcome):
        found["events"] = {rule["name"]: status.events.begun[status.camera, rule["name"]] for rule in rules}
    return found


def report(outcome: "Outcome", as_json: bool) -> None:
    """Tell how a run ended: on standard output as JSON, or in words beside the results."""
    summary = outcome.pipeline.counters.to_dict()
    hears = outcome.pipeline.model.contract.audio is not None
    if as_json:
        import json

        on_stdout(json.dumps(summary_of(outcome)))
        return
    lines = [
        f"{summary['frames']} frames, {summary['dropped']} dropped, {summary['lost']} lost, {summary['fps']} frames/s",
        *_stage_times(summary),
        f"pass 1: {summary['pass1']}, passes: {summary['passes']} ({summary['why']})",
    ]
    if summary["age_ms"]["p95"] is not None:
        lines.append(f"age of a result: p50 {summary['age_ms']['p50']} p95 {summary['age_ms']['p95']} ms")
    if summary["refused"]:
        kinds = ", ".join(f"{count} {kind}" for kind, count in summary["refused"].items())
        lines.append(f"REFUSED {sum(summary['refused'].values())} frames for what their seal says: {kinds}")
    if summary["other_profile"]:
        lines.append(
            f"{summary['other_profile']} frames were sealed by a sensor with another profile: give this run the "
            "--guard of the sensor"
        )
    if summary["noted"]:
        lines.append("passed over: " + ", ".join(f"{count} {kind}" for kind, count in summary["noted"].items()))
    if summary["unchanged"]:
        lines.append(f"the picture had not changed {summary['unchanged']} times")
    if summary["losses"]:
        device = "microphone" if hears else "camera"
        lines.append(f"{device} lost {summary['losses']} times, back {summary['reconnects']} times")
    if summary["certified_share"] is not None:
        lines += _sound_proof_lines(summary) if hears else _proof_lines(summary)
    if "smoothed" in summary:
        cost, draws = summary["smoothing_ms"], summary["smoothing_draws"]
        lines.append(
            f"certified under noise: {summary['smoothed']} of {summary['frames']} frames; "
            f"{draws['p50']:.0f} copies (median), p50 {cost['p50']} p95 {cost['p95']} ms a frame"
        )
    guard = outcome.pipeline.model.patch_guard
    if guard is not None:
        said = f", {summary['alarms']} alarms" if summary["alarms"] else ""
        lines.append(f"patch guard {guard.name}: marked {summary['suspected']} frames{said}")
    if summary["compared"]:
        lines.append(f"undefended path disagreed on {summary['disagreements']} of {summary['compared']} frames")
    lines += _event_lines(outcome)
    lines += [f"{s.name}: {s.dropped} results were dropped" for s in outcome.status.sinks if s.dropped]
    beside_results(*lines)


def _stage_times(summary: dict[str, Any]) -> list[str]:
    if not summary["frames"]:
        return []
    return ["  ".join(f"{stage} p50 {t['p50']} p95 {t['p95']} ms" for stage, t in summary["ms"].items())]


def _proof_lines(summary: dict[str, Any]) -> list[str]:
    """What was certified of the blocks that the model reads, and how many frames were proven."""
    count = summary["certified_frames"]
    looked_at = "" if count == summary["frames"] else f" that were looked at, of {summary['frames']}"
    return [
        f"certified at +-1 level in transit: {summary['certified_share']:.1%} of blocks, at +-2: "
        f"{summary['certified_share_2']:.1%} (mean over {count} frames{looked_at})",
        f"proven at +-1 level: {summary['proven_frames']} of {count} frames, at +-2: {summary['proven_2_frames']}",
    ]


def _sound_proof_lines(summary: dict[str, Any]) -> list[str]:
    count = summary["certified_frames"]
    return [
        f"certified at +-1 step of 16 bits in transit: {summary['certified_share']:.1%} of the guard's frames "
        f"(mean over {count} windows); proven: {summary['proven_frames']} of {count} windows"
    ]


def _rules(outcome: "Outcome") -> Sequence[dict[str, Any]]:
    """Rules of events of this camera, as they are configured."""
    return tuple(outcome.status.rules.get("events", ()))


def _event_lines(outcome: "Outcome") -> Iterator[str]:
    status = outcome.status
    for rule in _rules(outcome):
        name, frames = rule["name"], rule["frames"]
        of = status.camera, name
        if count := status.events.begun[of]:
            yield f"event {name}: {count} time{'s' * (count != 1)}"
        elif rule["alarm"] is not None:
            yield f"event {name}: none"
        elif count := status.events.shown[of]:
            yield f"event {name}: none; {count} results showed it, never {frames} in a row (frames = {frames})"
        else:
            yield f"event {name}: none, and no result showed it"
