"""`predict`: a trained network on new signals."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunectl.cli.completion import complete_finished
from tunectl.cli.options import StorageOption, StudyOption, option
from tunectl.cli.render import stderr
from tunectl.cli.session import (
    Session,
    directory_of_trial,
    find_trial,
    load_chosen,
    open_store,
    session_of,
)
from tunectl.errors import NoCompletedTrialError, UsageError

if TYPE_CHECKING:
    from tunectl.training.data_files import Floats
    from tunectl.training.packaged import PackagedNet

SUFFIXES = (".npy", ".csv")


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(predict)


def predict(
    context: typer.Context,
    signals: Annotated[
        Path,
        typer.Argument(
            metavar="X.npy", help="Signals as recorded: (N, C, L) or (N, C, H, W), all channels."
        ),
    ],
    study: StudyOption = None,
    storage: StorageOption = None,
    trial: Annotated[
        int | None,
        option(
            "--trial",
            metavar="N",
            min=0,
            autocompletion=complete_finished,
            help="Use this trial instead of the best one.",
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        option("--bundle", metavar="DIR|ZIP", help="Use what best --export has written."),
    ] = None,
    out: Annotated[
        Path | None,
        option(
            "--out",
            metavar="FILE",
            help="Write .npy or .csv; without it, CSV goes to standard output.",
        ),
    ] = None,
    device: Annotated[
        str, option("--device", metavar="NAME", help="cpu, cuda, cuda:INDEX, mps or auto.")
    ] = "auto",
) -> None:
    """Predict the targets of new signals, in their own units, with a trained network."""
    session = session_of(context)
    if bundle is not None and (study, trial) != (None, None):
        raise UsageError("--bundle goes with neither --study nor --trial")
    target = _target(session, out, signals)
    if bundle is not None:
        network = _of_bundle(session, bundle)
    else:
        network = _of_study(session, storage, study, trial)
    _predict(session, network, signals, target, device)


def _predict(
    session: Session, network: PackagedNet, signals: Path, target: Path | None, device: str
) -> None:
    from tunectl.reports.predictions import write_predictions
    from tunectl.training.device import resolve_device
    from tunectl.training.prediction import open_signals, predict_signals

    opened = open_signals(session.project / signals, str(signals), network)
    batches = predict_signals(network, opened, str(signals), resolve_device(device))
    with _progress(session, len(opened), batches) as shown:
        write_predictions(target, network.target_names, len(opened), shown, sys.stdout)


def _target(session: Session, out: Path | None, signals: Path) -> Path | None:
    """Return where the predictions go, None for standard output."""
    if out is None:
        return None
    target, source = session.project / out, session.project / signals
    if target.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--out {out}: its name must end in .npy or .csv")
    if target.is_dir():
        raise UsageError(f"--out {out} is a folder")
    if not target.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {target.parent}")
    if target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"--out {out} would overwrite the signals")
    return target


def _of_bundle(session: Session, bundle: Path) -> PackagedNet:
    from tunectl.training.packaged import load_bundle

    return load_bundle(session.project / bundle)


def _of_study(
    session: Session, storage: str | None, name: str | None, number: int | None
) -> PackagedNet:
    """Load the network of a trial, or of the best one."""
    from optuna.trial import TrialState

    from tunectl.studies.ranking import STATE_NAMES, best_trial
    from tunectl.studies.storage import storage_errors

    store = open_store(session, storage)
    study = load_chosen(store, name)
    with storage_errors(store.url):
        trial = best_trial(study) if number is None else find_trial(study, number)
    if trial is None:
        raise NoCompletedTrialError(f"study {study.study_name!r} has no completed trial yet")
    if trial.state is not TrialState.COMPLETE:
        state = STATE_NAMES[trial.state]
        raise UsageError(f"trial {trial.number} is {state}; only a complete one has a network")
    directory = directory_of_trial(store, trial, study.study_name)
    from tunectl.training.packaged import load_packaged  # PyTorch takes seconds: only now

    return load_packaged(directory)


@contextmanager
def _progress(
    session: Session, samples: int, batches: Iterator[Floats]
) -> Iterator[Iterable[Floats]]:
    """Show how far it has come, on a terminal only."""
    console = stderr()
    if session.quiet or not console.is_terminal or console.is_dumb_terminal:
        yield batches
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("predicting", total=samples)

        def counted() -> Iterator[Floats]:
            for batch in batches:
                yield batch
                progress.advance(task, len(batch))

        yield counted()
