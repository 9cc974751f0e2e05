"""One trial of a command: started, listened to, ended if need be, and judged.

What the program prints goes to the trial's log as it comes; see `protocol.py` for the lines among
it that are meant for tunectl. The program's folder is the project's.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from tunectl.artifacts import atomic
from tunectl.config.run import CommandRun
from tunectl.config.section import Scalar
from tunectl.errors import ObjectiveError
from tunectl.objectives.base import (
    Outcome,
    TrialContext,
    TrialInterrupted,
    TrialPruned,
    TrialTimedOut,
)
from tunectl.objectives.command.environment import environment_of, told_of
from tunectl.objectives.command.leftovers import end_leftovers
from tunectl.objectives.command.metric import Listener
from tunectl.objectives.command.program import PATIENCE_S, End, Program, Said
from tunectl.objectives.command.protocol import MalformedReport, Report, parse_report
from tunectl.objectives.command.reports import Reports
from tunectl.objectives.command.template import fill_in, text_of
from tunectl.objectives.trial import seed_of

POLL_S = 0.1
MOST_LOGGED = 32 * 1024 * 1024
"""Characters of output that the trial's log takes."""
LAST_WORDS = 3
# How long a signal that ended the program may take to be known here as well.
HEARSAY_S = 0.5
REASONS: Mapping[type[Exception], str] = {
    TrialPruned: "pruned",
    TrialInterrupted: "interrupted",
    TrialTimedOut: "timed out",
}


def run_trial(context: TrialContext) -> Outcome:
    """Run one trial to its end; see `CommandObjective.run`."""
    trial = _Trial(context)
    try:
        with _alone(context, trial.objective.grace_s) as lock:
            end = trial.run_program(lock)
        outcome = trial.outcome(end)
    except (TrialPruned, TrialTimedOut, ObjectiveError):
        trial.leave_metrics({})
        raise
    trial.leave_metrics(outcome.metrics)
    return outcome


class _Trial:
    """The parts of a running trial.

    Args:
        context: What the trial is given.
    """

    def __init__(self, context: TrialContext) -> None:
        self.context = context
        self.directory = context.directory
        self.run = context.config.run.as_kind(CommandRun)
        self.objective = self.run.objective
        study = context.config.study
        self.metric = study.metric
        self.reports = Reports(
            self.directory.reports_file, study.metric, maximize=study.direction == "maximize"
        )
        self._listener = Listener(self.objective.metric, study.values)
        self._last_step: int | None = None
        self._last_words: dict[bool, deque[str]] = {
            is_error: deque(maxlen=LAST_WORDS) for is_error in (True, False)
        }
        self._logged = 0
        self._is_warned = False

    def run_program(self, lock: int) -> End:
        """Run the program to its end.

        Args:
            lock: Descriptor of the lock that its guard is to hold, -1 for none.
        """
        environment = self._prepare()
        self._repeat_reports()
        self.context.check_stop()
        values = {**self._own_values(), **self.run.values()}
        command = [fill_in(text, values) for text in self.objective.command]
        self.context.log.info("runs %s", command)
        program = Program(
            command,
            folder=self.context.project,
            environment=environment,
            grace_s=self.objective.grace_s,
            lock=lock,
        )
        is_settled = False
        try:
            end = self._attend(program)
            is_settled = True
        except Exception as stop:
            self._end(program, REASONS.get(type(stop), "failed"))
            is_settled = True
            raise
        finally:
            program.close(in_a_hurry=not is_settled)
            with suppress(OSError):
                self.directory.stop_file.unlink()
        return end

    def outcome(self, end: End) -> Outcome:
        """Return what the program reached that has ended by itself.

        Raises:
            ObjectiveError: it failed, or left no metric.
            DivergedError: a metric is not finite.
            TrialInterrupted: the signal that ended it was meant for all.
        """
        name = self.run.objective_name
        if not end.is_good:
            self._hear_of_signal(end)
            how = "was ended by" if end.signal_number else "ended with"
            hint = ", which may mean that memory ran out" if str(end) == "SIGKILL" else ""
            raise ObjectiveError(f"{name} {how} {end}{hint}{self._quoted()}")
        metrics = self._listener.metrics(self.directory.path)
        return Outcome(
            value=metrics[self.metric],
            best_epoch=self.reports.best_step,
            epochs=len(self.reports.steps),
            metrics={**self.reports.best, **metrics},
        )

    def leave_metrics(self, metrics: Mapping[str, float]) -> None:
        """Write metrics.json: what was reached, and the reports step by step."""
        atomic.write_json(self.directory.metrics_file, self.reports.document(metrics))

    def _prepare(self) -> dict[str, str]:
        """Write what the program reads, remove what it is to write; return its environment."""
        directory = self.directory
        resumed = directory.params_file.exists()
        if resumed:
            self.reports.recall()
        stale = [directory.stop_file]
        if self.objective.metric.source == "json":
            stale.append(directory.path / self.objective.metric.path)
        for file in stale:
            with suppress(FileNotFoundError):
                file.unlink()
        plain = self.run.model_dump(mode="json", exclude={"objective"})
        atomic.write_yaml(directory.params_file, plain)
        own, values = self._own_values(), self.run.values()
        more = {
            name: fill_in(text_of(value), {**own, **values})
            for name, value in self.objective.env.items()
        }
        return environment_of(told_of(own, values, resumed=resumed), more)

    def _repeat_reports(self) -> None:
        """Report what an earlier attempt did; the database may not have heard the last of it."""
        for step in self.reports.steps:
            values = self.reports.at(step)
            if self.metric in values:
                self.context.report(step, values)

    def _own_values(self) -> dict[str, Scalar]:
        """Return what a brace may name beside the run's values; see `template.OWN`."""
        config, directory = self.context.config, self.directory
        return {
            "trial_dir": str(directory.path),
            "checkpoint_dir": str(directory.checkpoints_dir),
            "params_file": str(directory.params_file),
            "stop_file": str(directory.stop_file),
            "project": str(self.context.project),
            "study": config.study.name,
            "number": config.number,
            "seed": seed_of(self.context),
            "device": self.context.device,
        }

    def _attend(self, program: Program) -> End:
        while program.end is None:
            self._take(program.listen(POLL_S))
            if program.end is None:
                self.context.check_stop()
        return program.end

    def _take(self, lines: Sequence[Said]) -> None:
        """Take in lines of output; all of them are logged, whatever one of them brings about."""
        for said in lines:
            self._log(said)
        for said in lines:
            self._last_words[said.is_error].append(said.text)
            self._listener.hear(said.text, is_error=said.is_error)
            report = None if said.is_error else self._report_in(said.text)
            if report is not None:
                self._last_step = report.step
                self.reports.add(report)
                self.context.report(report.step, report.metrics)

    def _report_in(self, line: str) -> Report | None:
        try:
            return parse_report(line, self.metric, self._last_step)
        except MalformedReport as reason:
            if not self._is_warned:
                self._is_warned = True
                self.context.log.warning("no report, taken as plain output: %s", reason)
            return None

    def _log(self, said: Said) -> None:
        if self._logged > MOST_LOGGED:
            return
        self._logged += len(said.text) + 1
        self.context.log.info("%s %s", "err|" if said.is_error else "out|", said.text)
        if self._logged > MOST_LOGGED:
            self.context.log.warning("it prints too much; the rest of its output is left out")

    def _end(self, program: Program, reason: str) -> None:
        """Have the program ended, and log its last words."""
        with suppress(OSError):
            atomic.write_text(self.directory.stop_file, f"{reason}\n")
        grace_s = self.objective.grace_s
        delay_s = grace_s if self.objective.stop == "file" else 0.0
        program.stop(delay_s)
        deadline_s = time.monotonic() + delay_s + grace_s + PATIENCE_S
        with suppress(ObjectiveError):
            while program.end is None and time.monotonic() < deadline_s:
                for said in program.listen(POLL_S):
                    self._log(said)
        how = f": {program.end}" if program.end else ""
        self.context.log.info("the program was told to end (%s)%s", reason, how)

    def _hear_of_signal(self, end: End) -> None:
        """Wait a moment: a signal that ended the program may have been sent to all of us."""
        deadline_s = time.monotonic() + (HEARSAY_S if end.signal_number else 0.0)
        self.context.check_stop()
        while time.monotonic() < deadline_s:
            time.sleep(POLL_S)
            self.context.check_stop()

    def _quoted(self) -> str:
        """Return the program's last words, on standard error if there are any."""
        words = self._last_words[True] or self._last_words[False]
        return ": " + " / ".join(word[:300] for word in words) if words else ""


@contextmanager
def _alone(context: TrialContext, grace_s: float) -> Iterator[int]:
    """Wait for the program of an earlier attempt, whose worker was killed, to be ended.

    Yields:
        The descriptor of the lock, held; -1 where the file system has none.

    Raises:
        ObjectiveError: it does not end.
    """
    import fcntl

    lock = os.open(context.directory.program_lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    deadline_s = time.monotonic() + 2 * grace_s + PATIENCE_S
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                context.check_stop()
                if time.monotonic() > deadline_s:
                    raise ObjectiveError(
                        "the program of an earlier attempt at this trial still runs, and cannot "
                        "be ended"
                    ) from None
                time.sleep(POLL_S)
            except OSError:
                yield -1
                return
            else:
                if end_leftovers(lock, context.directory.path):
                    context.log.warning("what an earlier attempt had left running was ended")
                yield lock
                return
    finally:
        os.close(lock)
