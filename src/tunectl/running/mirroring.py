"""The coordinator's end of the process that mirrors a study to MLflow while it runs.

Nothing here waits for MLflow before the study is over: what the process is told goes through a
thread of its own, and what it says is only taken down.
"""

from __future__ import annotations

import logging
import pickle
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tunectl.running.events import Event, TrialEnded, TrialStarted
from tunectl.running.executors.channel import pair
from tunectl.running.executors.start import signals_held_back
from tunectl.tracking.follower import Done, Follow, Look, Over, Told, Trouble, UpToDate
from tunectl.tracking.mirror import MirrorReport
from tunectl.tracking.publish import Published

log = logging.getLogger(__name__)

PATIENCE_S = 30.0
# One that is told to stop, or that MLflow does not answer, is not waited for so long.
HURRY_S = 1.5
# What it tidies up after its last message.
GOODBYE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class MirrorEnd:
    """How far the mirror got.

    Args:
        report: The last state that MLflow is known to hold, None if none.
        published: The model and its registration, None where there is none.
        is_complete: Whether MLflow holds all of the study.
    """

    report: MirrorReport | None
    published: Published | None
    is_complete: bool


class MirrorProcess:
    """Starts the process, and tells it as an observer when to look.

    Args:
        order: What is mirrored, and where to.
    """

    def __init__(self, order: Follow) -> None:
        self._report: MirrorReport | None = None
        self._done: Done | None = None
        self._in_trouble = self._is_released = False
        self._to_say: queue.SimpleQueue[Follow | Look | Over] = queue.SimpleQueue()
        ours, theirs = pair()
        with theirs, signals_held_back():
            self._process = subprocess.Popen(
                _command(order.tree.project, order.study, theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._connection = ours
        self._to_say.put(order)
        threading.Thread(target=self._talk, name="to the mirror", daemon=True).start()
        self._listener = threading.Thread(target=self._listen, name="from the mirror", daemon=True)
        self._listener.start()

    def __call__(self, event: Event) -> None:
        """Let it look when a trial has begun or ended."""
        if isinstance(event, TrialStarted | TrialEnded):
            self._to_say.put(Look())

    def finish(self, *, in_a_hurry: bool = False) -> MirrorEnd:
        """Let it bring MLflow up to date for the last time, and wait for that, but not for long.

        Args:
            in_a_hurry: Whether the program has been told to stop.
        """
        self._to_say.put(Over(in_a_hurry))
        hurried = in_a_hurry or self._in_trouble
        self._listener.join(HURRY_S if hurried else PATIENCE_S)
        done, report = self._done, self._report
        if in_a_hurry:
            self._is_released = True
        elif done is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GOODBYE_S)
        self.close()
        return MirrorEnd(
            report=report,
            published=done.published if done else None,
            is_complete=done is not None and report is not None and not report.refused,
        )

    def release(self) -> None:
        """Let it put right by itself what MLflow shows as running; it does not take long."""
        self._is_released = True
        self._to_say.put(Over(in_a_hurry=True))

    def close(self) -> None:
        """End it at once, unless it was released; what it was about to do, the next call does."""
        if not self._is_released:
            self._process.kill()
            self._process.wait()

    def _talk(self) -> None:
        with suppress(OSError):  # it is gone, which `_listen` notices
            while True:
                self._connection.send(self._to_say.get())

    def _listen(self) -> None:
        with suppress(EOFError, OSError, pickle.UnpicklingError):
            while self._done is None:
                self._take_down(self._connection.recv())

    def _take_down(self, told: Told) -> None:
        if isinstance(told, UpToDate):
            self._report, self._in_trouble = told.report, False
        elif isinstance(told, Done):
            self._done = told
        elif isinstance(told, Trouble):
            self._in_trouble = True
            log.warning("%s; the study goes on without it", told.text)


def _command(project: Path, study: str, descriptor: int) -> list[str]:
    # -P: a folder named tunectl in the working directory is not the program.
    start = [sys.executable, "-P", "-m", "tunectl", "-C", str(project)]
    return [*start, "mlflow", "sync", "--study", study, "--channel", str(descriptor)]
