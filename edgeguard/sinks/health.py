"""The answer to /healthz of a run."""

from edgeguard.pipeline.status import RunStatus
from edgeguard.system.http import Answer


def run_health(status: RunStatus, stale_after_s: float) -> Answer:
    """200 while results come, else 503 and why."""
    why = status.unhealthy(stale_after_s)
    return Answer.line(200 if why is None else 503, why or "ok")
