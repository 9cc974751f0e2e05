"""What the disk, or somebody with `rm`, does to a trial while it runs: whose fault it is."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.errors import ObjectiveError, StorageError, TrialLostError
from tunectl.studies import attributes
from tunectl.studies.budget import Claim
from tunectl.studies.directories import recorded_path
from tunectl.studies.storage import reason_of

# The machine is at fault, not the trial: stop, so that it can be taken up again.
FAULTS_OF_THE_MACHINE = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EIO,
    errno.EFBIG,
    errno.ESTALE,
)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Let a full, read-only or failing disk stop the study instead of failing trial after trial.

    Raises:
        StorageError: instead of the operating system's error.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FAULTS_OF_THE_MACHINE:
            raise
        raise StorageError(f"{error.filename or 'the disk'}: {reason_of(error)}") from error


def cause_of(error: BaseException, directory: TrialDir) -> BaseException:
    """Return what failed a trial: the error itself, or that the trial's directory is gone."""
    if isinstance(error, FileNotFoundError) and not directory.is_there:
        return ObjectiveError(f"its directory was deleted while it ran: {directory.path}")
    return error


def refuse_to_be_second(claim: Claim, project: Path) -> None:
    """Do not end a trial that another process has taken up as well.

    A trial's lock goes with its directory, so whoever deletes that lets it be begun again.

    Args:
        claim: The trial.
        project: Absolute path of the project folder.

    Raises:
        TrialLostError: another process has, whether it has ended the trial yet or not.
    """
    trial, path = claim.trial, claim.directory.path
    now = trial.study.get_trials(deepcopy=False)[trial.number]
    recorded = now.user_attrs.get(attributes.OUTPUT_DIR)
    moved = not claim.directory.is_there and recorded != recorded_path(path, project)
    if now.state.is_finished():
        raise TrialLostError("another process has brought it to its end")
    if moved:
        raise TrialLostError(
            f"another process has begun it again, in {recorded}, since its directory, and its lock "
            "with it, was deleted while it ran"
        )
