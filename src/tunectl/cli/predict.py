"""`predict`: a trained network on new signals."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunectl.cli.completion import complete_finished
from tunectl.cli.mirror import destination_of
from tunectl.cli.options import StorageOption, StudyOption, option, trial_option
from tunectl.cli.output import stderr
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
    from tunectl.training.prediction import SignalNetwork

SUFFIXES = (".npy", ".csv")


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(predict)


def predict(
    context: typer.Context,
    signals: Annotated[
        Path,
        typer.Argument(
            metavar="X.npy",
            help="Signals as recorded: (N, C, L) or (N, C, H, W), all channels. Images also as a "
            "folder, an image, .npz or IDX.",
        ),
    ],
    study: StudyOption = None,
    storage: StorageOption = None,
    trial: Annotated[
        int | None, trial_option(complete_finished, "Use this trial instead of the best one.")
    ] = None,
    bundle: Annotated[
        Path | None,
        option("--bundle", metavar="DIR|ZIP", help="Use what best --export has written."),
    ] = None,
    mlflow: Annotated[
        str | None,
        option(
            "--mlflow",
            metavar="NAME",
            help="Use a network from MLflow: EXPERIMENT/RUN_ID, models:/NAME@champion, runs:/…",
        ),
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
    target = _target(session, out, signals)
    if _is_alone("--bundle", bundle, study, trial, mlflow) and bundle is not None:
        network: SignalNetwork = _on(device, _of_bundle(session, bundle))
    elif _is_alone("--mlflow", mlflow, study, trial) and mlflow is not None:
        network = _of_mlflow(session, mlflow, device)
    else:
        network = _on(device, _of_study(session, storage, study, trial))
    _predict(session, network, signals, target)


def _is_alone(flag: str, value: object, *others: object) -> bool:
    """Whether an option was given, which says all that the others could.

    Raises:
        UsageError: one of the others was given too.
    """
    if value is not None and any(other is not None for other in others):
        raise UsageError(f"{flag} goes with no other option that says which network")
    return value is not None


def _predict(session: Session, network: SignalNetwork, signals: Path, target: Path | None) -> None:
    from tunectl.reports.predictions import write_predictions
    from tunectl.training.new_images import ImageFiles
    from tunectl.training.prediction import open_signals, predict_signals

    opened = open_signals(session.project / signals, str(signals), network)
    batches = predict_signals(network, opened, str(signals))
    files = opened.names if isinstance(opened, ImageFiles) else None
    with _progress(session, len(opened), batches) as shown:
        write_predictions(target, network.target_names, len(opened), shown, sys.stdout, files)


def _on(device: str, network: PackagedNet) -> PackagedNet:
    """Move a network to the device asked for."""
    from tunectl.training.device import resolve_device

    return network.to(resolve_device(device))


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


def _of_mlflow(session: Session, name: str, device: str) -> SignalNetwork:
    from tunectl.tracking.loading import load_model

    if device not in ("auto", "cpu"):
        raise UsageError(f"--device {device}: a network from MLflow stays on the CPU")
    return load_model(name, destination_of(session.project, ""))


def _of_study(
    session: Session, storage: str | None, name: str | None, number: int | None
) -> PackagedNet:
    """Load the network of a trial, or of the best one."""
    from optuna.trial import TrialState

    from tunectl.objectives.registry import find_objective
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
    config = directory.read_config()
    if config is not None and not find_objective(config.run).leaves_network:
        raise UsageError(
            f"trial {trial.number} is of {config.run.objective_name}, which leaves no network that "
            f"predict could use; what it left is in {directory.path}"
        )
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
