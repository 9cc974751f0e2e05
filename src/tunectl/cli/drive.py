"""`trial ask`, `report`, `should-prune`, `tell`: for scripts that drive a study themselves.

Whatever the answer "no" is has the exit code 10: no trial to ask for, no reason to prune.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunectl.cli.completion import complete_trial
from tunectl.cli.options import JsonOption, StorageOption, StudyOption, UntilOption, flag, option
from tunectl.cli.output import emit, print_json, show, stderr
from tunectl.cli.session import Store, choose_study, find_trial, open_store, session_of
from tunectl.errors import UsageError

if TYPE_CHECKING:
    from tunectl.running.outside import HandedOut
    from tunectl.running.worker import Workplace
    from tunectl.studies.budget import Claims

NO = 10
"""Exit code of an answer that is no, which is neither a success nor an error."""

NumberArgument = Annotated[
    int, typer.Argument(metavar="N", autocompletion=complete_trial, help="The trial's number.")
]


class End(StrEnum):
    """How a script may say that a trial ended."""

    complete = "complete"
    pruned = "pruned"
    failed = "failed"


def register(app: typer.Typer) -> None:
    """Add the commands to `trial`."""
    numbers = {"ignore_unknown_options": True}  # -0.5 is a value and no option
    app.command()(ask)
    app.command(context_settings=numbers)(report)
    app.command("should-prune")(should_prune)
    app.command(context_settings=numbers)(tell)


def ask(
    context: typer.Context,
    study: StudyOption = None,
    until: UntilOption = None,
    storage: StorageOption = None,
    env: Annotated[
        bool, flag("--env", help="Print lines that set variables in a shell, for eval.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Get the next trial for a script: its number, parameters and directory.

    The study is stored already: tunectl study create. No worker takes such a trial up.

    The exit code is 10 if the study needs no further trial.
    """
    from tunectl.cli.tune import budget_of
    from tunectl.running.outside import ask as ask_for
    from tunectl.studies.budget import Nothing

    if env and json:
        raise UsageError("--env and --json exclude each other")
    store, place = _open(context, study, storage)
    budget = budget_of(place.settings, None, until)
    found = ask_for(place, _claims(place, budget.until))
    if isinstance(found, Nothing):
        _say_no(found, place, json=json)
        raise typer.Exit(NO)
    if json:
        print_json({"schema_version": 1, "trial": _document(found, place, store)})
    elif env:
        named = sorted(found.variables.items())
        emit("".join(f"export {name}={shlex.quote(text)}\n" for name, text in named))
    else:
        from tunectl.cli.render import fields
        from tunectl.reports.words import value_text

        rows = {"trial": f"{found.number} of study {place.study.study_name}"}
        rows["directory"] = str(found.directory.path)
        shown = {f"  {key}": value_text(one) for key, one in sorted(found.parameters.items())}
        show(fields({**rows, **shown}))


def report(
    context: typer.Context,
    n: NumberArgument,
    step: Annotated[int, typer.Argument(metavar="STEP", min=0, help="The step, ascending.")],
    values: Annotated[
        list[str],
        typer.Argument(metavar="VALUE", help="The metric's value, or several: loss=0.1 acc=0.9."),
    ],
    study: StudyOption = None,
    storage: StorageOption = None,
    json: JsonOption = False,
) -> None:
    """Say what a step of a trial has reached that a script runs."""
    from tunectl.running.outside import report as store_report
    from tunectl.running.outside import should_prune as is_hopeless

    _, place = _open(context, study, storage)
    find_trial(place.study, n)
    value = store_report(place, n, step, _numbers(values))
    if json:
        name = place.study.study_name
        hopeless = is_hopeless(place, n)
        document = {"study": name, "number": n, "step": step, "value": value}
        print_json({"schema_version": 1, **document, "should_prune": hopeless})


def should_prune(
    context: typer.Context,
    n: NumberArgument,
    study: StudyOption = None,
    storage: StorageOption = None,
    json: JsonOption = False,
) -> None:
    """Say whether a trial is to be given up: exit code 0 if so, 10 if it goes on."""
    from tunectl.running.outside import should_prune as is_hopeless

    _, place = _open(context, study, storage)
    find_trial(place.study, n)
    hopeless = is_hopeless(place, n)
    if json:
        name = place.study.study_name
        print_json({"schema_version": 1, "study": name, "number": n, "should_prune": hopeless})
    if not hopeless:
        raise typer.Exit(NO)


def tell(
    context: typer.Context,
    n: NumberArgument,
    values: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VALUE",
            show_default=False,
            help="What it reached, or several: loss=0.1 acc=0.9. Default: its best report.",
        ),
    ] = None,
    state: Annotated[End, option("--state", help="How it ended.")] = End.complete,
    reason: Annotated[
        str | None, option("--reason", metavar="TEXT", help="Why it is pruned or failed.")
    ] = None,
    study: StudyOption = None,
    storage: StorageOption = None,
    json: JsonOption = False,
) -> None:
    """Say how a trial has ended that a script has run."""
    from tunectl.reports.projections import refresh
    from tunectl.reports.words import number
    from tunectl.running.outside import tell as tell_of
    from tunectl.studies.storage import storage_errors

    if state is not End.complete and values:
        raise UsageError(f"a trial that is {state.value} has no value")
    store, place = _open(context, study, storage)
    find_trial(place.study, n)
    ended = tell_of(place, _claims(place, None), n, _numbers(values or ()), state.value, reason)
    with storage_errors(store.url):
        refresh(place.study, store.tree, store.shown_url)
    if json:
        document = {
            "study": place.study.study_name,
            "number": n,
            "state": ended.state,
            "value": ended.value,
            "error": ended.error,
            "is_best": ended.is_best,
        }
        print_json({"schema_version": 1, **document})
        return
    shown = f", {place.settings.search.study.metric[0]} {number(ended.value)}"
    value = shown if ended.value is not None else ""
    best = ", the best so far" if ended.is_best else ""
    emit(f"trial {n} of study {place.study.study_name} is {ended.state}{value}{best}\n")


def _open(
    context: typer.Context, study: str | None, storage: str | None
) -> tuple[Store, Workplace]:
    from tunectl.running.launch import furnish
    from tunectl.running.opening import reopen_study

    store = open_store(session_of(context), storage)
    opened, settings = reopen_study(choose_study(store, study), store.url)
    return store, furnish(opened, settings, store.tree, store.url)


def _claims(place: Workplace, until: int | None) -> Claims:
    from tunectl.running.work import open_claims
    from tunectl.studies.budget import Unlimited

    return open_claims(place, until, Unlimited())


def _numbers(texts: Sequence[str]) -> Mapping[str, float]:
    """Return values by name; a bare one has an empty name.

    Raises:
        UsageError: one is no number, or is named twice.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise UsageError(f"{text!r} is no value; valid: a number, or NAME=NUMBER") from None
        if name in found:
            raise UsageError(f"{text}: {name or 'a value without a name'} was given already")
        found[name] = value
    return found


def _document(found: HandedOut, place: Workplace, store: Store) -> dict[str, Any]:
    from tunectl.studies.directories import recorded_path

    return {
        "study": place.study.study_name,
        "number": found.number,
        "params": dict(found.parameters),
        "output_dir": recorded_path(found.directory.path, store.project),
        "directory": str(found.directory.path),
        "resumed": found.resumed,
        "last_step": found.last_step,
    }


def _say_no(found: Any, place: Workplace, *, json: bool) -> None:
    if found.exhausted:
        why, text = "exhausted", "every point of the search space has been visited"
    elif found.wait:
        why, text = "running", "the trials that are missing are running already"
    else:
        why, text = "met", "it has all its trials"
    if json:
        print_json({"schema_version": 1, "trial": None, "reason": why})
    stderr().print(f"study {place.study.study_name}: {text}", markup=False, soft_wrap=True)
