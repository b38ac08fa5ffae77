"""The answer to /healthz of a run."""

from collections.abc import Mapping

from edgeguard.pipeline.status import RunStatus, by_camera
from edgeguard.system.http import Answer


def run_health(status: RunStatus | Mapping[str, RunStatus], stale_after_s: float) -> Answer:
    """200 while results of every camera come, else 503 and why."""
    reasons = [
        f"{name}: {why}" if name else why
        for name, one in by_camera(status).items()
        if (why := one.unhealthy(stale_after_s)) is not None
    ]
    return Answer.line(503 if reasons else 200, "; ".join(reasons) or "ok")
