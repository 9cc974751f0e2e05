"""Where a study is mirrored to, and what may be shown of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.config.schema import Mlflow, Surroundings
from tunectl.tracking.destination import (
    ENVIRONMENT,
    find_destination,
    quieten,
    redacted,
    run_address,
)
from tunectl.tracking.web import page_command, page_environment

SECRET = "http://me:secret@mlflow.example.org:5000"


def tree(folder: Path) -> ProjectTree:
    return ProjectTree.of(folder, Surroundings())


def test_without_an_address_it_is_a_file_beside_the_studies(tmp_path: Path) -> None:
    found = find_destination(Mlflow(), tree(tmp_path), "small")

    assert found.uri == f"sqlite:///{tmp_path}/optuna/mlflow.db"
    assert found.database == tmp_path / "optuna" / "mlflow.db"
    assert found.artifacts == tmp_path / "optuna" / "mlflow-artifacts"
    assert (found.experiment, found.model_name) == ("small", "small_model")
    assert run_address(found, "1", "abc") == "http://127.0.0.1:5001/#/experiments/1/runs/abc"


def test_a_relative_file_is_relative_to_the_project(tmp_path: Path) -> None:
    wanted = Mlflow(tracking_uri="sqlite:///mine/m.db", registered_model_name="m")

    found = find_destination(wanted, tree(tmp_path), "small")

    assert found.database == tmp_path / "mine" / "m.db"
    assert found.model_name == "m"


def test_a_password_is_shown_nowhere(tmp_path: Path) -> None:
    found = find_destination(Mlflow(tracking_uri=SECRET), tree(tmp_path), "small")

    shown = [found.shown_uri, found.web_address, run_address(found, "1", "abc")]
    shown.append(redacted(f"HTTPSConnectionPool: {SECRET}/api failed, {SECRET}"))
    assert found.is_server
    assert not any("secret" in text for text in shown)
    assert found.web_address == "http://mlflow.example.org:5000"


@pytest.mark.parametrize(
    "uri",
    [
        "http://ann:sec/ret@mlflow.example.org",
        "http://ann:sec@ret@mlflow.example.org",
        "http://secret@mlflow.example.org",
        "http://mlflow.example.org/?password=secret&x=1",
        "postgresql://ann:sec/ret@db.example.org/mlflow",
        "postgresql://db.example.org/mlflow?user=ann&password=sec/ret",
    ],
)
def test_a_password_with_odd_characters_is_not_shown_either(uri: str, tmp_path: Path) -> None:
    found = find_destination(Mlflow(tracking_uri=uri), tree(tmp_path), "small")

    shown = [found.shown_uri, redacted(f"cannot connect to {uri}: no"), found.web_address]
    assert not any(part in text for text in shown for part in ("sec", "ret"))
    assert "example.org" in found.shown_uri


def test_the_page_has_no_password_on_its_command_line(tmp_path: Path) -> None:
    uri = "postgresql://ann:secret@db.example.org/mlflow"
    found = find_destination(Mlflow(tracking_uri=uri), tree(tmp_path), "small")

    command, environment = page_command(found, 5001), page_environment(found, {})

    assert not any("secret" in word for word in command)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == uri


def test_what_the_user_has_set_is_left_alone() -> None:
    environment = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}

    quieten(environment)

    assert environment["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "60"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environment.keys() == ENVIRONMENT.keys()


@pytest.mark.parametrize("text", ["sqlite:////a@b/m.db", "no address at all"])
def test_what_holds_no_password_is_shown_as_it_is(text: str) -> None:
    assert redacted(text) == text
