"""How many workers give the most trials per hour on this machine: tried out, not guessed.

Workers share caches and memory, so two are seldom twice as fast as one, and the right number
depends on the networks as well as on the machine. What was measured is remembered.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from tunectl.artifacts import atomic
from tunectl.artifacts.study_dir import ProjectTree
from tunectl.config.schema import Settings, TrialConfig
from tunectl.objectives.base import Objective, Rehearsable
from tunectl.running.executors.channel import Rate, TryOut
from tunectl.running.executors.start import start_process
from tunectl.running.slots import max_threads, with_threads
from tunectl.running.typical import typical_config

log = logging.getLogger(__name__)

POLL_S = 0.1
WARM_UP_S = 0.2
MEASURED_S = 1.5
# So much more must another worker bring, or it is not worth its memory.
LEAST_GAIN = 1.03


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was measured.

    Args:
        workers: The number that is best.
        rates: Number of workers → training steps per second of all of them together.
    """

    workers: int
    rates: dict[int, float]


def best_number(
    settings: Settings,
    objective: Objective,
    tree: ProjectTree,
    device: str,
    most: int,
    told: Callable[[], bool],
) -> int:
    """Return how many workers to start.

    Args:
        settings: What the study runs with.
        objective: What its trials run.
        tree: Where the project is, and where the answer is remembered.
        device: The device of the trials; the CPU is tried out, GPUs get all their places.
        most: More than this are of no use.
        told: Whether the program has been told to stop; then there is one.
    """
    if most == 1 or device != "cpu" or not isinstance(objective, Rehearsable):
        return most
    file, key = tree.optuna_dir / "workers.json", _key(settings, most)
    known = _read(file)
    if key not in known:
        config = typical_config(settings, objective, tree.project)
        if config is None:
            return 1
        measured = calibrate(config, settings, tree.project, most, told)
        if told():
            return 1
        if not measured.rates:
            log.warning("how many workers pay could not be tried out, so there is one")
            return 1
        shown = ", ".join(f"{n}: {rate:.0f}" for n, rate in measured.rates.items())
        log.info("training steps per second by number of workers: %s", shown)
        known[key] = measured.workers
        try:
            atomic.write_json(file, known)
        except OSError as error:
            log.debug("cannot remember it: %s", error)
    return min(most, known[key])


def calibrate(
    config: TrialConfig,
    settings: Settings,
    project: Path,
    most: int,
    told: Callable[[], bool],
) -> Calibration:
    """Train a configuration in more and more processes at once, until that brings nothing.

    Args:
        config: What is trained.
        settings: What the study runs with.
        project: Absolute path of the project folder.
        most: The largest number to try.
        told: Whether the program has been told to stop, which ends the measurement at once.
    """
    crew: list[_Trier] = []
    rates: dict[int, float] = {}
    best = 1
    try:
        for count in _counts(most):
            settled = with_threads(settings, count)
            tried = config.model_copy(update={"runtime": settled.surroundings.runtime})
            if crew and count * crew[0].memory_bytes() > psutil.virtual_memory().available:
                break
            while len(crew) < count:
                crew.append(_Trier(project, settings.search.study.name, max_threads(settled)))
            _together(crew[:count], tried, project, WARM_UP_S, told)
            rate = _together(crew[:count], tried, project, MEASURED_S, told)
            if rate is None:
                break
            rates[count] = rate
            if count > 1 and rate < LEAST_GAIN * rates[best]:
                break
            best = count
    finally:
        for one in crew:
            one.end()
    return Calibration(workers=best, rates=rates)


class _Trier:
    """A worker process that trains a little and forgets it.

    Args: as for `start_process`.
    """

    def __init__(self, project: Path, study: str, threads: int) -> None:
        self._process: subprocess.Popen[bytes]
        self.connection: Connection
        self._process, self.connection = start_process(project, study, threads)

    def memory_bytes(self) -> int:
        """Return what it holds of the machine's memory, without what it shares with others."""
        try:
            memory = psutil.Process(self._process.pid).memory_info()
        except psutil.Error:
            return 0
        return int(memory.rss) - int(getattr(memory, "shared", 0))  # Linux alone knows

    def end(self) -> None:
        """Let it go, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self.connection.close()


def _together(
    crew: Sequence[_Trier],
    config: TrialConfig,
    project: Path,
    seconds: float,
    told: Callable[[], bool],
) -> float | None:
    """Return the steps per second of several at once, None if one fails or there is no time."""
    answers = []
    try:
        for one in crew:
            one.connection.send(
                TryOut(project=project, config=config, device="cpu", seconds=seconds)
            )
        for one in crew:
            while not one.connection.poll(POLL_S):
                if told():
                    return None
            answers.append(one.connection.recv())
    except (EOFError, OSError):
        return None
    rates = [answer.steps_per_s for answer in answers if isinstance(answer, Rate)]
    return sum(rates) if len(rates) == len(crew) else None


def _counts(most: int) -> list[int]:
    """Return 1, 2, 4 … and the largest number itself."""
    counts, count = [], 1
    while count < most:
        counts.append(count)
        count *= 2
    return [*counts, most]


def _key(settings: Settings, most: int) -> str:
    """Return what the answer depends on: the machine, and what is trained how."""
    runtime = with_threads(settings, 1).surroundings.runtime.model_dump_json(exclude={"workers"})
    space = settings.search.model_dump_json(include={"params_to_tune"})
    text = "\n".join((runtime, space, settings.run.model_dump_json()))
    return f"{platform.node()}-{most}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _read(file: Path) -> dict[str, int]:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {key: value for key, value in known.items() if isinstance(value, int) and value > 0}
