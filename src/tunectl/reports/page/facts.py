"""What the report says, gathered once: no text of the page is made here."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from tunectl import __version__
from tunectl.artifacts.atomic import to_yaml
from tunectl.config.schema import Settings
from tunectl.errors import ArtifactError, StorageError
from tunectl.objectives.data_facts import DataFacts
from tunectl.reports.bounds import NearBound, layout_in, near_bounds
from tunectl.reports.data_facts import look_at_data
from tunectl.reports.effort import Effort, effort_of
from tunectl.reports.importances import Importances, importances_of
from tunectl.reports.insights import leaders_of
from tunectl.reports.page.best import BestTrial, directory_here, look_at_best
from tunectl.reports.page.trials import Reason, reasons_of
from tunectl.reports.summary import StudySummary, summarise
from tunectl.search.space import SearchSpace, describe
from tunectl.studies.lifecycle import stored_settings
from tunectl.studies.ranking import directions_of
from tunectl.studies.trial_info import versions


@dataclass(frozen=True, kw_only=True)
class ReportFacts:
    """What the report says of a study.

    Args:
        summary: The study at a glance.
        settings: The configuration stored with it; None for one that another program made, or that
            this version cannot read.
        made_at: When the report was made, UTC.
        effort: What it has cost, and what its pruner has saved.
        importances: How much each parameter matters for each metric, None where nothing can be
            said.
        near_bounds: Ranges that look too narrow.
        best: The trial that stands for the study, None while none is complete.
        reasons: Why trials failed or were ended.
        n_lost: How many trials have a directory recorded that cannot be seen from here.
        data: The data of the best trial; None where they are gone, or are others now.
        versions: Of this program and what it is built on, where the report was made.
    """

    summary: StudySummary
    settings: Settings | None
    made_at: dt.datetime
    effort: Effort
    importances: Sequence[Importances | None]
    near_bounds: Sequence[NearBound]
    best: BestTrial | None
    reasons: Sequence[Reason]
    n_lost: int
    data: DataFacts | None
    versions: Mapping[str, str]

    @property
    def records(self) -> Sequence[tuple[str, float, int]]:
        """Each metric with its best value among the best trials, and whose that is."""
        rows: list[tuple[str, float, int]] = []
        pairs = zip(self.summary.metrics, self.summary.directions, strict=True)
        for index, (metric, direction) in enumerate(pairs):
            sign = -1.0 if direction == "maximize" else 1.0
            ranked = sorted((sign * one.values[index], one.number) for one in self.summary.front)
            rows += [(metric, sign * loss, number) for loss, number in ranked[:1]]
        return rows

    @property
    def space(self) -> Mapping[str, str]:
        """Each searched parameter's range, as one line."""
        if self.settings is None:
            return {}
        specs = SearchSpace(self.settings.search.params_to_tune).specs
        return {name: describe(spec) for name, spec in specs.items()}

    @property
    def run_yaml(self) -> str:
        """The values that are not searched, as they stand in `params.yaml`."""
        return to_yaml(self.settings.run.model_dump(mode="json")) if self.settings else ""

    @property
    def search_yaml(self) -> str:
        """Sampler, pruner, budget and the like, as they stand in `optuna_params.yaml`."""
        if self.settings is None:
            return ""
        document = self.settings.search.model_dump(mode="json", exclude={"params_to_tune"})
        return to_yaml({key: value for key, value in document.items() if value not in ({}, [])})

    @property
    def commands(self) -> Sequence[tuple[str, str]]:
        """What to type for going on from here, each with what it does."""
        name = shlex.quote(self.summary.name)
        lines = [(f"tunectl study show {name}", "the study in full")]
        if self.best is not None and self.best.has_directory:
            number = self.best.trial.number
            lines += [
                (f"tunectl trial replay {number} --study {name}", "trains the best trial again"),
                (f"tunectl best --export --study {name}", "its network as a folder to give away"),
            ]
        if self.settings is not None:
            lines.append((f"tunectl study resume {name}", "goes on with the study"))
        lines.append((f"tunectl study export {name} study.jsonl", "the study as a file, lossless"))
        return lines


def gather(study: optuna.Study, storage: str, project: Path) -> ReportFacts:
    """Return what the report says of a study.

    Args:
        study: The study.
        storage: Its database's URL as it may be shown.
        project: Absolute path of the project folder.
    """
    summary = summarise(study, storage, project)
    settings = _settings_of(study)
    trials = study.get_trials(deepcopy=False)
    directions = directions_of(study)
    best = look_at_best(summary, settings, project)
    recorded = [trial for trial in summary.trials if trial.output_dir is not None]
    return ReportFacts(
        summary=summary,
        settings=settings,
        made_at=dt.datetime.now(dt.UTC),
        effort=effort_of(trials, settings),
        importances=[importances_of(trials, way, metric) for metric, way in enumerate(directions)],
        near_bounds=near_bounds(
            leaders_of(study), has_best=len(directions) == 1, layout=layout_in(settings)
        ),
        best=best,
        reasons=reasons_of(summary),
        n_lost=sum(directory_here(trial, project) is None for trial in recorded),
        data=_data_of(best, project),
        versions={"tunectl": __version__, **versions()},
    )


def _data_of(best: BestTrial | None, project: Path) -> DataFacts | None:
    directory = directory_here(best.trial, project) if best else None
    config = directory.read_config() if directory else None
    if directory is None or config is None:
        return None
    from tunectl.training.packaged import load_packaged

    try:
        return look_at_data(directory, config, project, load_packaged(directory))
    except ArtifactError:  # its network is gone or damaged, so nothing tells what it was trained on
        return None


def _settings_of(study: optuna.Study) -> Settings | None:
    try:
        return stored_settings(study)
    except StorageError:
        return None
