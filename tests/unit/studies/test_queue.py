"""Known points: read from files, checked against a study's space, queued."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from tunectl.artifacts.study_dir import StudyDir
from tunectl.config.schema import Settings
from tunectl.config.section import Scalar
from tunectl.errors import StudyFileError, UsageError
from tunectl.search.space import SearchSpace
from tunectl.studies.budget import Claim, Claims, Unlimited
from tunectl.studies.claim_lock import claim_lock
from tunectl.studies.lifecycle import create_study, stored_settings
from tunectl.studies.points_file import read_points
from tunectl.studies.queue import CheckedPoints, check_points, enqueue_points
from tunectl.studies.storage import open_storage

Make = Callable[..., Settings]

SPACE: dict[str, Any] = {
    "model.hidden": {"type": "int", "low": 32, "high": 128, "step": 16},
    "model.dropout_rate": {"type": "float", "low": 0.0, "high": 0.5, "step": 0.05},
    "training.learning_rate": {"type": "float", "low": 1e-5, "high": 1e-2, "log": True},
    "training.optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
    "training.use_weighted_loss": {"type": "categorical", "choices": [True, False]},
    "training.weight_target_0": {
        "type": "float",
        "low": 0.1,
        "high": 10.0,
        "when": {"training.use_weighted_loss": True},
    },
}


@pytest.fixture
def study(make_settings: Make, database: str) -> optuna.Study:
    storage = open_storage(database, create=True)
    assert storage is not None
    return create_study(storage, make_settings(SPACE, name="mine"))


@pytest.fixture
def check(study: optuna.Study, tmp_path: Path) -> Callable[[str, str], CheckedPoints]:
    """Return what reads and checks a file of points: its name and its text."""

    def checked(name: str, text: str) -> CheckedPoints:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return check_points(read_points(tmp_path / name, name=name), study)

    return checked


Check = Callable[[str, str], CheckedPoints]
POINTS: list[dict[str, Scalar]] = [
    {"model.hidden": 64, "training.learning_rate": 1e-3, "training.optimizer": "sgd"},
    {"training.use_weighted_loss": True, "training.weight_target_0": 7.0},
]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("points.json", json.dumps(POINTS)),
        ("points.json", json.dumps(POINTS, indent=2)),
        (
            "POINTS.YML",
            "- model: {hidden: 64}\n"
            "  training:\n"
            "    learning_rate: 1e-3\n"
            "    optimizer: sgd\n"
            "- training.use_weighted_loss: true\n"
            "  training: {weight_target_0: 7}\n",
        ),
        (
            "points.csv",
            "\ufeffmodel.hidden, training.learning_rate,training.optimizer,"
            "training.use_weighted_loss,training.weight_target_0\r\n"
            "64.0,0.001,sgd,,\r\n"
            "\r\n"
            ',,,true,"7"\r\n',
        ),
    ],
)
def test_the_same_points_in_any_kind_of_file(check: Check, name: str, text: str) -> None:
    checked = check(name, text)

    assert checked.points == POINTS
    assert [type(value) for value in checked.points[1].values()] == [bool, float]
    assert checked.warnings == []


@pytest.mark.parametrize(
    ("name", "text"),
    [("one.json", '{"model": {"hidden": 48}}'), ("one.yaml", "model.hidden: 48\n")],
)
def test_a_single_mapping_is_one_point(check: Check, name: str, text: str) -> None:
    assert check(name, text).points == [{"model.hidden": 48}]


def test_every_problem_is_told_at_once_with_its_line(check: Check) -> None:
    text = """\
- model.hiden: 64
- model: {hidden: 50, dropout_rate: 0.07}
  training.learning_rate: 0.5
- training.optimizer: adamw
  training.use_weighted_loss: 1
- training.batch_size: 4
- training:
    use_weighted_loss: false
    weight_target_0: 1.0
- 5
- {}
- {model.hidden: 64, model: {hidden: 64}}
- {model.hidden: sixty, training.learning_rate: null}
"""
    with pytest.raises(StudyFileError) as error:
        check("p.yaml", text)

    found = [(one.line, one.key, one.message) for one in error.value.problems]
    assert [(line, key) for line, key, _ in found] == [
        (1, "model.hiden"),
        (2, "model.hidden"),
        (2, "model.dropout_rate"),
        (3, "training.learning_rate"),
        (4, "training.optimizer"),
        (5, "training.use_weighted_loss"),
        (6, "training.batch_size"),
        (9, "training.weight_target_0"),
        (10, None),
        (11, None),
        (12, "model.hidden"),
        (13, "model.hidden"),
        (13, "training.learning_rate"),
    ]
    expected = [
        "did you mean 'model.hidden'?",
        "nearest: 48 or 64; valid: int 32..128 step 16 (point 2)",
        "nearest: 0.05 or 0.1;",
        "0.5 is out of range; valid: float 1e-05..0.01 log (point 2)",
        "'adamw' is none of its choices; valid: one of adam, sgd",
        "the number 1 is none of its choices; valid: one of true, false",
        "is not searched by this study; it searches model.dropout_rate, model.hidden",
        "counts only when training.use_weighted_loss = true, which this point rules out",
        "expected a mapping of parameters, not the number 5 (point 6)",
        "gives no parameter (point 7)",
        "is given dotted and nested",
        "expected a whole number, not the text 'sixty'",
        "expected a number, not nothing (null)",
    ]
    for (_, _, message), words in zip(found, expected, strict=True):
        assert words in message


def test_a_table_names_its_columns_once_and_its_rows_each(check: Check) -> None:
    text = (
        "number,model.hidden,model.hidden,\n"
        "0,64,,\n"
        '"1",20,,\n'
        "2,999999999999999999999,,,7\n"
        ',,"\n",\n'
    )
    with pytest.raises(StudyFileError) as error:
        check("p.csv", text)

    problems = [(one.line, one.key) for one in error.value.problems]
    assert problems == [
        (1, None),
        (1, None),
        (1, "number"),
        (3, "model.hidden"),
        (4, None),
        (4, "model.hidden"),
        (5, None),
    ]
    assert "stands here twice" in str(error.value)
    assert "column 4 has no name" in str(error.value)
    assert "has 5 cells, the header only 4" in str(error.value)
    assert "64 bits" in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("p.json", "[{]", "p.json:1: is not JSON"),
        ("p.json", '[{"a": 1},\n\n {"a": NaN}]', "NaN, which is not JSON"),
        ("p.json", '{"a": 1, "a": 2}', "'a' more than once"),
        ("p.json", "[" * 100_000, "nested too deeply"),
        ("p.json", "[]", "p.json: has no points"),
        ("p.json", "3", "expected a mapping of parameters, not the number 3"),
        (
            "p.json",
            '[\n{"model.hidden": 64},\n{"model.hidden": 2}]',
            "p.json:3: model.hidden: 2 is",
        ),
        ("p.yaml", "", "p.yaml: has no points"),
        ("p.yaml", "5", "p.yaml:1: must be a list of mappings, or a mapping"),
        ("p.yaml", "- a: 1\n- b: ]\n", "p.yaml:2: is not valid YAML"),
        ("p.yaml", "- model.hidden: !!python/object:os.system x\n", "p.yaml:1: the tag"),
        ("p.csv", "", "p.csv: has no points"),
        ("p.csv", "model.hidden\n", "p.csv: has no points"),
        ("p.csv", 'model.hidden\n"64', "p.csv:2: is not CSV"),
        ("none/p.csv", "", "cannot be read: No such file"),
    ],
)
def test_a_file_that_says_nothing_is_refused(
    study: optuna.Study, tmp_path: Path, name: str, text: str, words: str
) -> None:
    if "/" not in name:
        (tmp_path / name).write_text(text)

    with pytest.raises(StudyFileError) as error:
        check_points(read_points(tmp_path / name, name=name), study)

    assert words in str(error.value)


def test_an_unknown_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.json, \.yaml, \.yml, \.csv"):
        read_points(tmp_path / "points.txt", name="points.txt")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes("größe\n".encode("latin-1"))

    with pytest.raises(StudyFileError, match="UTF-8"):
        read_points(tmp_path / "p.csv", name="p.csv")


def test_a_condition_that_the_sampler_decides_is_a_warning(check: Check) -> None:
    checked = check("p.json", '{"training.weight_target_0": 7}')

    assert checked.points == [{"training.weight_target_0": 7.0}]
    assert "leaves that to the sampler" in str(checked.warnings[0])


def test_a_value_on_the_grid_however_it_was_worked_out(check: Check) -> None:
    values = [0.1 + 0.2, 0.5, 3 * 0.05]
    points = [{"model.dropout_rate": value} for value in values]

    assert check("p.json", json.dumps(points)).points == points


def test_a_constraint_that_a_point_breaks_is_an_error(
    make_settings: Make, database: str, tmp_path: Path
) -> None:
    settings = make_settings(SPACE, name="mine")
    search = settings.search.model_copy(
        update={"constraints": ("model.hidden * training.batch_size <= 256",)}
    )
    storage = open_storage(database, create=True)
    assert storage is not None
    study = create_study(storage, settings.model_copy(update={"search": search}))
    (tmp_path / "p.yaml").write_text("- model.hidden: 64\n- model.hidden: 80\n")

    with pytest.raises(StudyFileError) as error:
        check_points(read_points(tmp_path / "p.yaml", name="p.yaml"), study)

    assert [one.line for one in error.value.problems] == [2]
    assert "breaks the constraint model.hidden" in str(error.value)


def test_a_study_of_another_program_has_nothing_to_check_against(
    database: str, tmp_path: Path
) -> None:
    storage = open_storage(database, create=True)
    study = optuna.create_study(storage=storage, study_name="theirs")
    (tmp_path / "p.json").write_text('{"x": 1}')

    with pytest.raises(UsageError, match="'theirs' was made by another program"):
        check_points(read_points(tmp_path / "p.json", name="p.json"), study)


def test_points_that_are_there_already_can_be_left_out(study: optuna.Study) -> None:
    points: list[dict[str, Scalar]] = [
        {"model.dropout_rate": 0.3},
        {"model.hidden": 64},
        {"model.hidden": 64},
    ]
    first = enqueue_points(study, points[:1])
    study.tell(study.ask(), 1.0)

    again: list[dict[str, Scalar]] = [{"model.dropout_rate": 0.1 + 0.2}, *points[1:]]
    assert (first, enqueue_points(study, again, skip_existing=True)) == (1, 1)
    assert enqueue_points(study, again) == 3
    assert len(study.get_trials()) == 5


def test_a_trial_that_the_sampler_proposed_counts_as_there(study: optuna.Study) -> None:
    study.tell(study.ask({"x": optuna.distributions.IntDistribution(3, 3)}), 1.0)

    assert enqueue_points(study, [{"x": 3}, {"x": 4}], skip_existing=True) == 1


def test_queued_points_are_run_before_the_sampler_proposes_anything(
    study: optuna.Study, check: Check, tmp_path: Path
) -> None:
    study.tell(study.ask(), 1.0)
    enqueue_points(study, check("p.json", json.dumps(POINTS)).points)
    settings = stored_settings(study)
    assert settings is not None
    space = SearchSpace(settings.search.params_to_tune)
    claims = Claims(
        study,
        until=4,
        permits=Unlimited(),
        project=tmp_path,
        outputs_root=tmp_path / "outputs",
        lock=claim_lock(f"sqlite:///{tmp_path}/study.db", study.study_name, StudyDir(tmp_path)),
    )

    proposed = []
    for value in (2.0, 3.0, 4.0):
        with claims.next() as claim:
            assert isinstance(claim, Claim)
            proposed.append((claim.trial.number, space.suggest(claim.trial)))
            study.tell(claim.trial, value)

    assert [number for number, _ in proposed] == [1, 2, 3]
    for point, (_, parameters) in zip(POINTS, proposed, strict=False):
        assert point.items() <= parameters.items()
        assert parameters.keys() >= SPACE.keys() - {"training.weight_target_0"}
