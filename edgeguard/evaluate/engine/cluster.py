"""Units of work as tasks on a Ray cluster: the same jobs, on machines that need not have the files."""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from edgeguard.errors import DeviceError, InputError
from edgeguard.evaluate.engine.executors import Executor, local_executor
from edgeguard.evaluate.engine.remote_files import keep_copy
from edgeguard.system.extras import how_to_install

Job = TypeVar("Job")
Result = TypeVar("Result")
_CONNECT_S = 5.0
_RETRIES = 3


class RayCluster:
    """Runs jobs on a Ray cluster; the files that they name travel through its object store, each once.

    A task whose worker or machine is lost runs again elsewhere, up to three times.

    Args:
        address: `HOST:PORT` of the head node, or `auto` for the cluster that this machine belongs to.

    Raises:
        DeviceError: nothing answers at the address.
        InputError: ray is not installed.
    """

    def __init__(self, address: str) -> None:
        try:
            import ray
        except ImportError as error:
            raise InputError(f"--ray needs ray: {how_to_install('cluster')}") from error
        if address != "auto":
            _check_answers(address)
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            ray.init(address=address, logging_level="ERROR", log_to_driver=False, ignore_reinit_error=True)
        except (ConnectionError, RuntimeError, ValueError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise DeviceError(f"the Ray cluster at {address} cannot be used: {first}") from error
        self._ray = ray
        self._files: dict[str, Any] = {}
        self._run = ray.remote(num_cpus=1, max_retries=_RETRIES)(_run_there)

    def map(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[tuple[int, Result]]:
        """See `executors.Executor`."""
        waiting: dict[Any, int] = {}
        try:
            for index, job in enumerate(jobs):
                waiting[self._submit(function, job)] = index
            while waiting:
                done, _ = self._ray.wait(list(waiting), num_returns=1)
                yield waiting.pop(done[0]), self._ray.get(done[0])
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from error
        except self._ray.exceptions.RayError as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise DeviceError(f"the Ray cluster lost a task: {first}; run the same command to go on") from error
        finally:
            for task in waiting:
                self._ray.cancel(task, force=True)

    def close(self) -> None:
        """Leave the cluster."""
        self._ray.shutdown()

    def _submit(self, function: Callable[[Any], Any], job: Any) -> Any:
        return self._run.remote(function, job, job.files, *(self._put(path) for path in job.files))

    def _put(self, path: str) -> Any:
        if path not in self._files:
            try:
                with open(path, "rb") as stream:
                    self._files[path] = self._ray.put(stream.read())
            except OSError as error:
                raise InputError(f"cannot read {path} for the cluster: {error.strerror or error}") from error
        return self._files[path]


def executor_at(ray_address: str | None, workers: int | None = None) -> Executor:
    """The Ray cluster at an address; without one, processes of this machine (see `local_executor`)."""
    return local_executor(workers) if ray_address is None else RayCluster(ray_address)


def _run_there(function: Callable[[Job], Result], job: Job, paths: Sequence[str], *contents: bytes) -> Result:
    import torch

    os.environ["EDGEGUARD_EVALUATE_WORKER"] = "1"
    torch.set_num_threads(1)
    for path, data in zip(paths, contents, strict=True):
        keep_copy(path, data)
    return function(job)


def _check_answers(address: str) -> None:
    """Ray itself waits a minute for an address where nobody is."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"--ray wants HOST:PORT or auto, got {address!r}")
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise DeviceError(f"no Ray cluster answers at {address}: {error}") from error
