"""Runs in MLflow: finding those of a study, and making one hold what its plan says.

Everything may be done twice: what is there already is left alone or written again as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from tunectl.tracking.dataset import DatasetFacts
from tunectl.tracking.run_plan import DIGEST, KIND, MODEL, NOW, STUDY_ID, TRIAL, RunPlan

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

POINTS_PER_CALL = 1000
TEXTS_PER_CALL = 100
PARENT_TAG = "mlflow.parentRunId"
UNFINISHED = "unfinished"
"""Instead of a digest, while a run is being brought up to date."""
PARENT = -1
"""Stands for the study's own run among the numbers of its trials."""

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Mirrored:
    """A run as it was last seen in MLflow.

    Args:
        run_id: Its id.
        digest: The digest of the plan that it was last brought up to, None if that failed midway.
        params: Its parameters.
        tags: Its tags.
    """

    run_id: str
    digest: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def find_runs(
    client: MlflowClient, experiment_id: str, study_id: str, number: int | None = None
) -> dict[int, Mirrored]:
    """Return the runs of a study by trial number, `PARENT` for its own.

    Where two processes that could not see each other made a run twice, one of them is deleted,
    whoever looks.

    Args:
        client: The client.
        experiment_id: The experiment.
        study_id: The study's identity.
        number: Only the run of this trial, or of the study itself.
    """
    wanted = f"tags.`{STUDY_ID}` = '{study_id}'"
    if number is not None:
        key, text = (KIND, "study") if number == PARENT else (TRIAL, str(number))
        wanted += f" and tags.`{key}` = '{text}'"
    found: dict[int, Mirrored] = {}
    for run in sorted(_search(client, experiment_id, wanted), key=lambda one: one.info.run_id):
        position = int(run.data.tags.get(TRIAL, PARENT))
        if position in found:
            client.delete_run(run.info.run_id)
        else:
            found[position] = _seen(run)
    return found


def ended_runs(client: MlflowClient, experiment_id: str, study_id: str) -> set[int]:
    """Return the numbers of the trials that MLflow has to their end, `PARENT` for the study's own.

    Args: as for `find_runs`; nothing is changed.
    """
    wanted = f"tags.`{STUDY_ID}` = '{study_id}'"
    return {
        int(run.data.tags.get(TRIAL, PARENT))
        for run in _search(client, experiment_id, wanted)
        if run.info.status != "RUNNING" and run.data.tags.get(DIGEST, UNFINISHED) != UNFINISHED
    }


def create_run(
    client: MlflowClient, experiment_id: str, plan: RunPlan, parent_run_id: str | None
) -> Mirrored:
    """Make the run of a plan, with all the tags by which it can be found again."""
    tags = dict(plan.tags)
    if parent_run_id is not None:
        tags[PARENT_TAG] = parent_run_id
    made = client.create_run(experiment_id, start_time=plan.start_ms, tags=tags, run_name=plan.name)
    return Mirrored(run_id=made.info.run_id, tags=tags)


def put_under(client: MlflowClient, seen: Mirrored, parent_run_id: str) -> Mirrored:
    """Make sure that a trial's run is below its study's, which may have been made anew."""
    if seen.tags.get(PARENT_TAG) == parent_run_id:
        return seen
    client.set_tag(seen.run_id, PARENT_TAG, parent_run_id)
    return replace(seen, tags={**seen.tags, PARENT_TAG: parent_run_id})


def bring_up_to(
    client: MlflowClient,
    seen: Mirrored,
    plan: RunPlan,
    find_dataset: Callable[[RunPlan], DatasetFacts | None] | None = None,
) -> Mirrored:
    """Make a run hold what its plan says; the digest comes last, so a half-done run is redone.

    What tells how a trial ended goes before its files, any of which may be too much for MLflow.

    Args:
        client: The client.
        seen: The run as it is.
        plan: As it is to be.
        find_dataset: Finds the data set that the run used.
    """
    run_id = seen.run_id
    _write_tags(client, seen, plan)
    _set_status(client, run_id, plan)
    _write_values(client, seen, plan)
    for file in plan.files:
        client.log_artifact(run_id, str(file.source), file.folder or None)
    for name, text in plan.texts.items():
        client.log_text(run_id, text, name)
    dataset = find_dataset(plan) if find_dataset else None
    if dataset is not None:
        client.log_inputs(run_id, datasets=[_dataset_input(dataset)])
    client.set_tag(run_id, DIGEST, plan.digest())
    return Mirrored(
        run_id=run_id,
        digest=plan.digest(),
        params={**plan.params, **seen.params},
        tags={**{k: v for k, v in seen.tags.items() if k in (MODEL, PARENT_TAG)}, **plan.tags},
    )


def _write_tags(client: MlflowClient, seen: Mirrored, plan: RunPlan) -> None:
    from mlflow.entities import RunTag

    for stale in _stale_tags(seen.tags, plan.tags):
        client.delete_tag(seen.run_id, stale)
    changed = [RunTag(key, text) for key, text in plan.tags.items() if seen.tags.get(key) != text]
    if seen.digest is not None:
        changed.append(RunTag(DIGEST, UNFINISHED))
    for tags in _slices(changed, TEXTS_PER_CALL):
        client.log_batch(seen.run_id, tags=tags)


def _write_values(client: MlflowClient, seen: Mirrored, plan: RunPlan) -> None:
    from mlflow.entities import Metric, Param

    run_id = seen.run_id
    missing = [Param(key, text) for key, text in plan.params.items() if key not in seen.params]
    for params in _slices(missing, TEXTS_PER_CALL):
        client.log_batch(run_id, params=params)
    points = [Metric(p.key, p.value, p.time_ms, p.step) for p in plan.points]
    for metrics in _slices(points, POINTS_PER_CALL):
        client.log_batch(run_id, metrics=metrics)


def _set_status(client: MlflowClient, run_id: str, plan: RunPlan) -> None:
    if plan.status == "RUNNING":
        client.update_run(run_id, status=plan.status, name=plan.name)
    else:
        client.update_run(run_id, name=plan.name)
        client.set_terminated(run_id, plan.status, end_time=plan.end_ms or plan.start_ms)


def _stale_tags(there: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Return the tags of ours that do not hold any more, such as a parameter of an old best."""
    kept = {*wanted, DIGEST, MODEL}
    return [key for key in there if key.startswith(("best_", "tunectl.", NOW)) and key not in kept]


def _dataset_input(facts: DatasetFacts) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=facts.name,
        digest=facts.digest,
        source_type="local",
        source=facts.source,
        schema=facts.schema,
        profile=facts.profile,
    )
    return DatasetInput(dataset=dataset, tags=[InputTag("mlflow.data.context", "training")])


def _search(client: MlflowClient, experiment_id: str, wanted: str) -> Iterator[Run]:
    token: str | None = None
    while True:
        page = client.search_runs([experiment_id], wanted, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _seen(run: Run) -> Mirrored:
    tags = dict(run.data.tags)
    return Mirrored(
        run_id=run.info.run_id, digest=tags.get(DIGEST), params=dict(run.data.params), tags=tags
    )


def _slices(items: Sequence[_T], size: int) -> Iterator[list[_T]]:
    waiting = iter(items)
    while part := list(islice(waiting, size)):
        yield part
