"""The files of a study while it runs: how often they are written."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.reports.projections import CHEAP_S, PAUSE, Keeper, refresh


class Clock:
    """A clock on which each look takes as long as the test says."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.step_s = 0.0

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


@pytest.fixture
def tree(tmp_path: Path) -> ProjectTree:
    return ProjectTree(
        project=tmp_path, outputs_root=tmp_path / "outputs", optuna_dir=tmp_path / "optuna"
    )


def one_more(study: optuna.Study) -> None:
    study.tell(study.ask(), 1.0)


def written(tree: ProjectTree) -> int:
    """Return how many trials the summary has, 0 where there is none."""
    if not tree.summary_file.exists():
        return 0
    count: int = json.loads(tree.summary_file.read_text(encoding="utf-8"))["n_trials"]
    return count


def test_a_small_study_is_written_after_each_trial(tree: ProjectTree) -> None:
    study = optuna.create_study()
    keeper = Keeper(study, tree, "", Clock())

    for count in range(1, 4):
        one_more(study)
        keeper.note_change()
        keeper.catch_up()
        assert written(tree) == count


def test_a_large_study_is_written_a_twentieth_of_the_time_and_then_with_all_its_trials(
    tree: ProjectTree,
) -> None:
    study, clock = optuna.create_study(), Clock()
    keeper = Keeper(study, tree, "", clock)
    clock.step_s = 2 * CHEAP_S  # what writing takes
    one_more(study)
    keeper.note_change()
    keeper.catch_up()
    clock.step_s = 0.0
    assert written(tree) == 1

    one_more(study)
    keeper.note_change()
    keeper.catch_up()
    assert written(tree) == 1

    clock.now_s += 2 * CHEAP_S * PAUSE
    keeper.catch_up()  # at any event, not only at the end of a trial
    assert written(tree) == 2


def test_nothing_is_written_while_nothing_has_changed(tree: ProjectTree) -> None:
    keeper = Keeper(optuna.create_study(), tree, "", Clock())

    keeper.catch_up()

    assert not tree.summary_file.exists()


def test_the_last_word_is_said_whatever_the_time(tree: ProjectTree) -> None:
    study = optuna.create_study()
    for _ in range(3):
        one_more(study)

    refresh(study, tree, "")

    assert written(tree) == 3
    texts = {file.read_text() for file in (tree.summary_file, tree.outputs_summary_file)}
    assert len(texts) == 1
