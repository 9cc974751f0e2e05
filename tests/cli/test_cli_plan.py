"""`check --plan` and `check --schema`: what is shown, and that nothing is left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from cli_project import Project
from jsonschema import Draft202012Validator
from warm_project import WarmProject, small_project

KEYS = {
    "schema_version",
    "valid",
    "problems",
    "warnings",
    "configuration",
    "space",
    "replaced",
    "samples",
    "rehearsal",
    "estimate",
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return small_project(tmp_path)


def test_a_plan_is_one_document_and_leaves_nothing(project: Project) -> None:
    before = project.files()

    document = project.ok("check", "--plan", "--json", "training.epochs=7").document()

    assert project.files() == before
    assert set(document) == KEYS
    assert document["valid"] is True
    assert document["configuration"]["training.epochs"] == {
        "value": 7,
        "origin": "command line: training.epochs=7",
    }
    assert document["configuration"]["model.hidden"] == {"value": 4, "origin": "params.yaml:3"}
    assert document["configuration"]["model.dropout_rate"]["origin"] == "default"
    assert document["space"]["continuous"] is True
    assert document["space"]["by_type"] == {"categorical": 1, "float": 1}
    assert len(document["samples"]) == 5
    smallest, largest = document["rehearsal"]["smallest"], document["rehearsal"]["largest"]
    assert smallest["n_parameters"] < largest["n_parameters"]
    assert smallest["input_shape"] == [8, 2, 32]
    assert smallest["output_shape"] == [8, 2]
    assert smallest["gradients_finite"] and largest["gradients_finite"]
    assert document["estimate"]["n_trials"] == 4
    assert 0 < document["estimate"]["min_time_s"] <= document["estimate"]["max_time_s"]


def test_a_plan_is_the_same_again_but_for_what_is_measured(project: Project) -> None:
    first, second = (project.ok("check", "--plan", "--json").document() for _ in range(2))

    for key in KEYS - {"rehearsal", "estimate"}:
        assert first[key] == second[key]


def test_a_plan_for_people_has_every_part(project: Project) -> None:
    result = project.ok("check", "--plan")

    for part in (
        "configuration and data are valid",
        "training.learning_rate",
        "optuna_params.yaml:3",
        "continuous",
        "five random configurations",
        "rehearsal on cpu",
        "8 × 2 × 32",
        "estimate for 4 trials",
        "upper bound",
    ):
        assert part in result.out, part
    assert "study.n_trials: 4, but the first 10 trials of TPESampler" in result.err


def test_warnings_have_the_place_of_what_they_are_about(project: Project) -> None:
    document = project.ok(
        "check", "--plan", "--json", "training.batch_size=range(8,72,8)"
    ).document()

    places = {(one["file"], one["line"], one["key"]) for one in document["warnings"]}
    assert ("optuna_params.yaml", 1, "study.n_trials") in places
    (misfit,) = (one for one in document["warnings"] if "will fail" in one["message"])
    assert misfit["key"] == "params_to_tune.training.batch_size"
    assert "in the override" in misfit["message"]


def test_what_is_not_valid_has_problems_and_no_plan(project: Project) -> None:
    wrong = project.tunectl("check", "--plan", "--json", "training.epochs=0")
    nowhere = project.tunectl("check", "--plan", "--json", "runtime.device=cuda:77")

    for result, key in ((wrong, "training.epochs"), (nowhere, "runtime.device")):
        assert result.code == 2
        document = result.document()
        assert set(document) == KEYS
        assert [one["key"] for one in document["problems"]] == [key]
        assert document["rehearsal"] is None


def test_a_password_is_not_shown(project: Project) -> None:
    url = "storage.url=postgresql://me:secret@host/db"

    result = project.ok("check", "--plan", url)

    assert "secret" not in result.out + result.err
    assert "postgresql://me:***@host/db" in result.out


def test_a_study_that_is_stored_stays_as_it_is(project: Project) -> None:
    project.ok("study", "create")
    before = (project.path / "optuna" / "study.db").read_bytes(), project.files()

    project.ok("check", "--plan")

    assert ((project.path / "optuna" / "study.db").read_bytes(), project.files()) == before


def test_the_plan_of_a_new_project_makes_its_demonstration_data_only(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)
    project.ok("init")
    before = project.files()

    project.ok("check", "--plan", "model.hidden=4", "runtime.device=cpu")

    new = {name for name in project.files() - before if not name.startswith("data/demo/")}
    assert new == {"data", "data/demo"}


def test_schemas_need_no_project_and_accept_what_init_writes(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)

    result = project.ok("check", "--schema", "schemas")
    document = project.ok("check", "--schema", "schemas", "--json").document()
    project.ok("init")

    names = ("config", "params", "optuna_params")
    files = [str(tmp_path / "schemas" / f"{name}.schema.json") for name in names]
    assert result.out.splitlines() == files == document["files"]
    for name in names:
        text = (tmp_path / f"{name}.yaml").read_text()
        named = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
        schema = json.loads((tmp_path / named).read_text())
        assert schema == project.json(f"schemas/{name}.schema.json")
        Draft202012Validator(schema).validate(yaml.safe_load(text))


def test_schemas_know_the_samplers_and_pruners(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)
    project.ok("check", "--schema", ".")
    validator = Draft202012Validator(project.json("optuna_params.schema.json"))

    assert validator.is_valid({"study": {"sampler": {"name": "CmaEsSampler"}}})
    assert not validator.is_valid({"study": {"sampler": {"name": "CmaEsSampeler"}}})
    assert not validator.is_valid({"study": {"pruner": {"name": "TPESampler"}}})


def test_schemas_know_how_many_threads_there_can_be(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)
    project.ok("check", "--schema", ".")
    validator = Draft202012Validator(project.json("config.schema.json"))

    valid = [
        threads
        for threads in ("auto", None, 1, 0, "many")
        if validator.is_valid({"runtime": {"threads_per_worker": threads}})
    ]
    assert valid == ["auto", None, 1]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    result = WarmProject(tmp_path).tunectl("check", "--schema", "file/schemas")

    assert result.code == 7
    assert "cannot write" in result.said
