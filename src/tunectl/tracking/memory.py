"""What a study remembers of its mirror, in its own database."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tunectl.studies import attributes

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a study remembers.

    Args:
        study: The study's name; a copy of the study under another name is another study.
        study_id: By which its runs are known in any MLflow.
        uri: Where it was last mirrored to, without a password.
        experiment_id: Its experiment there.
        parent_run_id: Its own run there.
    """

    study: str
    study_id: str
    uri: str | None = None
    experiment_id: str | None = None
    parent_run_id: str | None = None


def recall(study: optuna.Study) -> Memory | None:
    """Return what a study remembers, None if it was never mirrored."""
    return memory_of(study.user_attrs, study.study_name)


def memory_of(user_attrs: Mapping[str, Any], name: str) -> Memory | None:
    """Return what the study of a name remembers in its user attributes. See `recall`."""
    stored = user_attrs.get(attributes.MLFLOW_STUDY)
    if not isinstance(stored, dict) or stored.get("study") != name:
        return None
    known: dict[str, Any] = {key: stored.get(key) for key in Memory.__dataclass_fields__}
    return Memory(**known) if isinstance(known["study_id"], str) else None


def recall_or_begin(study: optuna.Study) -> Memory:
    """Return what a study remembers; give it an identity if it has none.

    The caller holds the lock of the mirror.
    """
    memory = recall(study)
    if memory is None:
        memory = Memory(study=study.study_name, study_id=uuid.uuid4().hex)
        study.set_user_attr(attributes.MLFLOW_STUDY, asdict(memory))
    return memory


def remember(study: optuna.Study, before: Memory, now: Memory) -> None:
    """Store what a study remembers, if it is anything new."""
    if now != before:
        study.set_user_attr(attributes.MLFLOW_STUDY, asdict(now))


def remember_run(storage: RDBStorage, trial: FrozenTrial, run_id: str) -> None:
    """Store the id of a trial's run with the trial, if it is not there."""
    if trial.user_attrs.get(attributes.MLFLOW_RUN_ID) != run_id:
        from tunectl.studies.late_attributes import set_late_attribute

        set_late_attribute(storage, trial, attributes.MLFLOW_RUN_ID, run_id)


def recall_run(storage: RDBStorage, trial: FrozenTrial) -> str | None:
    """Return the id of a trial's run as the database has it now."""
    from tunectl.studies.late_attributes import read_late_attribute

    found = read_late_attribute(storage, trial, attributes.MLFLOW_RUN_ID)
    return found if isinstance(found, str) else None
