"""The executor of local processes: each runs `tunectl worker`, and one that dies is replaced.

The processes are new ones, not forks: PyTorch's threads and CUDA survive no fork. They claim their
trials themselves, so the budget stays exact whatever happens to this process or to one of them.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait

from tunectl.errors import Problem, ProblemsError, TunectlError, WorkerError
from tunectl.garbage import collect_as_usual
from tunectl.running.deaths import note_death
from tunectl.running.events import (
    EpochEnded,
    StudyStarted,
    TrialClaimed,
    TrialEnded,
    TrialsAwaited,
    WorkerLost,
)
from tunectl.running.executors.channel import (
    Failed,
    Finished,
    Message,
    Order,
    Permit,
    PermitReturned,
    PermitWanted,
    Said,
    Stop,
)
from tunectl.running.executors.start import start_process
from tunectl.running.slots import Slot, max_threads
from tunectl.running.work import open_claims
from tunectl.running.worker import Workplace
from tunectl.studies.budget import Budget, permits_for, planned_trials
from tunectl.studies.storage import storage_errors

log = logging.getLogger(__name__)

POLL_S = 0.1
# A worker that has been told to stop leaves within a batch; one that does not hangs.
STOP_PATIENCE_S = 120.0
# A trial that is over its time ends itself between two batches; one that does not hangs.
OVERTIME_S = 60.0
MOST_IDLE_DEATHS = 10
# Workers that somebody outside stops, one after another, before any of them ends an epoch.
MOST_STOPPED = 100
TOLD_TO_STOP = (130, 143)


class Processes:
    """Runs trials in processes of their own.

    Args:
        slots: A place for each worker, at least one.
    """

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = tuple(slots)

    @property
    def n_workers(self) -> int:
        """Trials that run at the same time."""
        return len(self._slots)

    def run(self, place: Workplace, budget: Budget) -> bool:
        """Run trials there. See `Executor.run`."""
        collect_as_usual()
        with storage_errors(place.storage_url):
            useful = max(1, planned_trials(place.study, budget))
        return _Crew(place, budget).run(self._slots[:useful])


@dataclass(kw_only=True)
class _Worker:
    """A worker process as its coordinator sees it.

    Args:
        slot: Its place.
        process: The process.
        connection: Our end of its socket.
        trial: Number of the trial that it runs.
        since_s: When it began that trial, on the monotonic clock.
        has_permit: Whether it holds a permit that no trial has used up.
        is_through: Whether it has said its last word.
        killed_for: Why it was killed by us, None if it was not.
    """

    slot: Slot
    process: subprocess.Popen[bytes]
    connection: Connection
    trial: int | None = None
    since_s: float = field(default_factory=time.monotonic)
    has_permit: bool = False
    is_through: bool = False
    killed_for: str | None = None

    def send(self, message: Order | Permit | Stop) -> None:
        """Tell it something; that it is gone shows when it is listened to."""
        with contextlib.suppress(OSError):
            self.connection.send(message)


class _Crew:
    """The workers of one call.

    Args:
        place: The study and its surroundings.
        budget: What the call may run.
    """

    def __init__(self, place: Workplace, budget: Budget) -> None:
        self._place = place
        self._budget = budget
        self._permits = permits_for(budget)
        self._claims = open_claims(place, budget.until, self._permits)
        self._workers: dict[Connection, _Worker] = {}
        self._stopping_since_s: float | None = None
        self._idle_deaths = 0
        self._stopped = 0
        self._awaited: set[int] = set()
        self._exhausted = False
        self._failure: Exception | None = None

    def run(self, slots: Sequence[Slot]) -> bool:
        """Start a worker in each place and hear them out; see `Executor.run`."""
        try:
            for slot in slots:
                self._start(slot)
            while self._workers:
                for connection in wait(list(self._workers), POLL_S):
                    assert isinstance(connection, Connection)
                    self._listen(self._workers[connection])
                if self._place.should_stop() or self._failure is not None:
                    self._stop()
                self._end_those_that_hang()
        finally:
            for worker in self._workers.values():
                worker.process.kill()
            for worker in self._workers.values():
                worker.process.wait()
                worker.connection.close()
        if self._failure is not None:
            raise self._failure
        return self._exhausted

    def _start(self, slot: Slot) -> None:
        place = self._place
        threads = max_threads(place.settings)
        process, ours = start_process(place.tree.project, place.study.study_name, threads)
        worker = _Worker(slot=slot, process=process, connection=ours)
        self._workers[ours] = worker
        worker.send(
            Order(
                tree=place.tree,
                storage_url=place.storage_url,
                study=place.study.study_name,
                settings=place.settings,
                device=slot.device,
                until=self._budget.until,
                worker=slot.worker,
            )
        )

    def _listen(self, worker: _Worker) -> None:
        try:
            message: Message = worker.connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            self._part_with(worker)
            return
        if isinstance(message, PermitWanted):
            worker.has_permit = self._stopping_since_s is None and self._permits.take()
            worker.send(Permit(worker.has_permit))
        elif isinstance(message, PermitReturned):
            self._take_permit_back(worker)
            worker.trial = None
        elif isinstance(message, Finished):
            self._dismiss(worker)
            self._exhausted |= message.exhausted
        elif isinstance(message, Failed):
            self._dismiss(worker)
            self._fail(_error_of(message))
        elif isinstance(message, Said):
            log.log(message.level, "worker %d: %s", worker.slot.worker, message.text)
        elif isinstance(message, TrialsAwaited):
            self._pass_on(message)
        else:
            self._follow(worker, message)
            self._place.tell(message)

    def _pass_on(self, message: TrialsAwaited) -> None:
        """Tell what workers wait for, once for all of them; each other's trials do not count."""
        ours = {worker.trial for worker in self._workers.values()}
        others = tuple(one for one in message.trials if one.number not in ours)
        numbers = {one.number for one in others}
        if numbers and numbers != self._awaited:
            self._awaited = numbers
            self._place.tell(TrialsAwaited(trials=others))

    def _follow(self, worker: _Worker, event: object) -> None:
        """Take down which trial a worker runs."""
        assert not isinstance(event, StudyStarted | WorkerLost)
        if isinstance(event, TrialClaimed):
            worker.trial, worker.since_s = event.number, time.monotonic()
            self._idle_deaths = 0
        elif isinstance(event, EpochEnded):
            self._stopped = 0
        elif isinstance(event, TrialEnded):
            worker.trial, worker.has_permit, self._stopped = None, False, 0

    def _dismiss(self, worker: _Worker) -> None:
        """Let a worker that has said its last word go, without waiting for Python to tidy up."""
        worker.is_through = True
        worker.process.kill()

    def _part_with(self, worker: _Worker) -> None:
        """See why a worker is gone, and put another one in its place if it was not to go."""
        code = worker.process.wait()
        worker.connection.close()
        del self._workers[worker.connection]
        if worker.is_through or self._stopping_since_s is not None:
            self._take_permit_back(worker)
            return
        if self._place.should_stop():
            return  # the same signal has reached both
        reason = worker.killed_for or _reason(code)
        lost = WorkerLost(worker=worker.slot.worker, number=worker.trial, reason=reason)
        self._place.tell(lost)
        try:
            if not self._has_ended_its_trial(worker, code, reason):
                self._take_permit_back(worker)
        except TunectlError as error:
            if not self._place.should_stop():
                self._fail(error)
            return
        self._idle_deaths += worker.trial is None
        self._stopped += code in TOLD_TO_STOP
        if self._idle_deaths >= MOST_IDLE_DEATHS:
            self._fail(WorkerError(f"workers end before they begin a trial: {reason}"))
        elif self._stopped >= MOST_STOPPED:
            self._fail(
                WorkerError(
                    f"{self._stopped} workers were told to stop from outside, and none since "
                    "has ended an epoch; their trials can be taken up again"
                )
            )
        else:
            self._replace(worker)

    def _has_ended_its_trial(self, worker: _Worker, code: int, reason: str) -> bool:
        """Whether the trial is over: ended unheard, or failed by a death too many."""
        if worker.trial is None:
            return False
        counts = code not in TOLD_TO_STOP
        pid = worker.process.pid
        end = note_death(self._place, self._claims, worker.trial, reason, pid=pid, counts=counts)
        return end is not None

    def _replace(self, worker: _Worker) -> None:
        """Start another worker; where the system lets us have none, the others go on."""
        try:
            self._start(worker.slot)
        except OSError as error:
            log.warning("no worker in the place of worker %d: %s", worker.slot.worker, error)
            if not self._workers:
                self._fail(WorkerError(f"no worker can be started: {error}"))

    def _take_permit_back(self, worker: _Worker) -> None:
        if worker.has_permit:
            worker.has_permit = False
            self._permits.give_back()

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error

    def _stop(self) -> None:
        """Let every worker leave a checkpoint and go; one without a trial has nothing to leave."""
        if self._stopping_since_s is not None:
            return
        self._stopping_since_s = time.monotonic()
        for worker in self._workers.values():
            worker.send(Stop())
            if worker.trial is None:
                worker.process.kill()

    def _end_those_that_hang(self) -> None:
        """Kill the workers that do not come back from a batch; nothing is lost by it."""
        now_s = time.monotonic()
        limit_s = self._place.settings.search.failures.trial_timeout
        for worker in self._workers.values():
            over = limit_s is not None and now_s - worker.since_s > limit_s + OVERTIME_S
            stopping_s = self._stopping_since_s
            if stopping_s is not None and now_s - stopping_s > STOP_PATIENCE_S:
                over = True
            if over and worker.trial is not None:
                worker.killed_for = "it did not come back from a batch and was ended"
                worker.process.kill()


def _reason(code: int) -> str:
    """Say how a process ended."""
    if code == -signal.SIGKILL:
        return "killed (SIGKILL), as the system does when memory runs out"
    if code < 0:
        try:
            return f"killed ({signal.Signals(-code).name})"
        except ValueError:
            return f"killed (signal {-code})"
    if code in TOLD_TO_STOP:
        return "told to stop from outside"
    return f"ended with exit code {code}"


def _error_of(message: Failed) -> Exception:
    """Make a worker's error again, to be raised here."""
    if issubclass(message.kind, ProblemsError):
        return message.kind([Problem(message=message.text)])
    return message.kind(message.text)
