"""The mirror in MLflow: whole, never twice, whatever becomes of the server in the meantime."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_project import (
    PARAMS,
    SEARCH,
    TUNECTL,
    Project,
    environment_with,
    made_once,
    wait_for_file,
    wait_until,
)
from mlflow_server import MlflowServer, Run
from warm_project import WarmProject, copy_of, mixed_project, small_project

EXPERIMENT = "shared"
N_TRIALS = 4
OF_THIS_CALL = {
    "tunectl.mirrored",
    "tunectl.model",
    "tunectl.output_dir",
    "tunectl.study_id",
    "mlflow.parentRunId",
}
TIMINGS = ("train_time_s", "inference_time_ms")
LOADS_WITHOUT_US = """\
import sys
import mlflow, numpy, pathlib
needs = pathlib.Path(mlflow.pyfunc.get_model_dependencies(sys.argv[1])).read_text()
assert "torch==" in needs and "+" not in needs, needs  # PyPI has no local versions
model = mlflow.pyfunc.load_model(sys.argv[1])
numpy.save(sys.argv[3], model.predict(numpy.load(sys.argv[2])))
assert not any(name.partition(".")[0] == "tunectl" for name in sys.modules)
"""


def config_for(uri: str | None, **more: str) -> str:
    given = {"tracking_uri": uri, "experiment_name": EXPERIMENT if uri else None, **more}
    lines = [f"  {key}: {value}\n" for key, value in given.items() if value is not None]
    return "runtime: {device: cpu}\nmlflow:\n  enabled: true\n" + "".join(lines)


def mirrored_project(path: Path, uri: str, study: str) -> Project:
    search = SEARCH.replace("name: small", f"name: {study}")
    return small_project(path, config=config_for(uri), optuna_params=search)


def of_study(runs: list[Run], study: str) -> tuple[Run, dict[int, Run]]:
    """Return a study's own run and those of its trials; none may be there twice."""
    ours = [run for run in runs if run["tags"]["tunectl.study"] == study]
    (parent,) = [run for run in ours if run["tags"]["tunectl.kind"] == "study"]
    children = {int(run["tags"]["tunectl.trial"]): run for run in ours if run is not parent}
    assert len(children) == len(ours) - 1
    return parent, children


def content(run: Run) -> dict[str, Any]:
    """Return what a run holds, apart from when it was, where, and how long things took."""
    return {
        "name": run["info"]["run_name"].replace("without", "with"),
        "status": run["info"]["status"],
        "params": {key: text for key, text in run["params"].items() if key != "study.name"},
        "tags": {
            key: text.replace("without", "with")
            for key, text in run["tags"].items()
            if key not in OF_THIS_CALL
        },
        "metrics": {
            name: [(one["step"], one["value"]) for one in history]
            for name, history in run["metrics"].items()
            if name not in TIMINGS
        },
        "files": run["files"],
        "datasets": run["datasets"],
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    made = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, server: MlflowServer) -> Project:
    """Return a project whose study was mirrored while it ran."""
    project = mirrored_project(tmp_path_factory.mktemp("whole"), server.uri, "without")
    with project.started("tune") as process:
        finish(process, project)
    return project


def finish(process: subprocess.Popen[str], project: Project) -> None:
    """Wait for a `tune` to end; what it could not mirror in time is mirrored after it."""
    out, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    if "later: tunectl mlflow sync" in said:  # the machine is too busy to wait for it
        project.ok("mlflow", "sync")
    else:
        assert "study's run" in out


@pytest.mark.long
def test_every_trial_of_studies_that_ran_at_once_is_under_its_own_parent_and_only_once(
    server: MlflowServer, tmp_path: Path
) -> None:
    names = ("many", "few")
    pair = [mirrored_project(tmp_path / name, server.uri, name) for name in names]
    with pair[0].started("tune", "--workers", "3") as first, pair[1].started("tune") as second:
        for process, project in zip((first, second), pair, strict=True):
            finish(process, project)

    runs = [run for run in server.runs(EXPERIMENT) if run["tags"]["tunectl.study"] in names]

    for project, study in zip(pair, names, strict=True):
        parent, children = of_study(runs, study)
        assert sorted(children) == list(range(N_TRIALS))
        for number, run in children.items():
            trial = project.trials(study)[number]
            assert run["tags"]["mlflow.parentRunId"] == parent["info"]["run_id"]
            assert run["info"]["run_name"] == f"trial_{number}"
            assert run["info"]["run_id"] == trial.user_attrs["mlflow_run_id"]
            assert run["info"]["status"] == "FINISHED"
            curve = [one["value"] for one in run["metrics"]["val_mse"]]
            assert curve == list(trial.intermediate_values.values())
            assert run["metrics"]["value"][0]["value"] == trial.value
            assert float(run["params"]["training.learning_rate"]) == pytest.approx(
                trial.params["training.learning_rate"]
            )
            assert {"config.yaml", "metrics.json", "logs/trial.log"} <= set(run["files"])
            assert not any(name.startswith(("checkpoints", ".")) for name in run["files"])
    assert len(runs) == 2 * (N_TRIALS + 1)


@pytest.mark.slow
def test_the_parent_tells_settings_best_trial_data_and_summary(
    whole: Project, server: MlflowServer
) -> None:
    parent, _ = of_study(server.runs(EXPERIMENT), "without")
    best = whole.ok("best", "--json").document()

    assert parent["info"]["run_name"] == "without"
    assert parent["tags"]["best_trial_number"] == str(best["number"])
    assert float(parent["tags"]["best_training.learning_rate"]) == pytest.approx(
        best["params"]["training.learning_rate"]
    )
    assert parent["metrics"]["best_value"][-1]["value"] == best["value"]
    assert [one["step"] for one in parent["metrics"]["best_value"]] == [1, 2, 3, 4]
    assert parent["params"]["study.metric"] == "val_mse"
    assert parent["params"]["space.model.use_residual"] == "one of true, false"
    assert {"study_summary.json", "settings.yaml"} <= set(parent["files"])
    assert [one["name"] for one in parent["datasets"]] == ["x.npy"]
    assert best["mlflow_parent_run_id"] == parent["info"]["run_id"]


@pytest.mark.slow
def test_links_lead_to_the_runs(whole: Project, server: MlflowServer) -> None:
    best = whole.ok("best", "--json").document()

    links = whole.ok("mlflow", "link").out.split()

    ids = [best["mlflow_parent_run_id"], best["mlflow_run_id"]]
    assert [link.rsplit("/", 1)[1] for link in links] == ids
    assert all(link.startswith(f"{server.uri}/#/experiments/") for link in links)


@pytest.mark.slow
def test_the_champion_gives_the_trials_predictions_where_there_is_no_tunectl(
    whole: Project, server: MlflowServer, tmp_path: Path
) -> None:
    first = whole.ok("best", "--register", "--json").document()
    again = whole.ok("best", "--register", "--json").document()

    assert (first["name"], first["version"], first["is_new"]) == (f"{EXPERIMENT}_model", "1", True)
    assert (again["version"], again["is_new"]) == ("1", False)
    version = server.get("model-versions/get", name=first["name"], version="1")["model_version"]
    tags = {one["key"]: one["value"] for one in version["tags"]}
    assert (tags["tunectl.study"], version["aliases"]) == ("without", ["champion"])
    best = whole.ok("best", "--json").document()
    assert tags["tunectl.trial"] == str(best["number"])
    assert "of study without" in version["description"]
    directory = whole.path / best["output_dir"]
    np.testing.assert_allclose(
        _predicted_without_us(first["uri"], server, whole.path / "x.npy", tmp_path),
        _predicted_by_trial(directory, whole.path / "x.npy"),
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.long
def test_a_network_is_found_by_the_name_of_its_experiment_and_its_run(
    whole: Project, tmp_path: Path
) -> None:
    project = copy_of(whole, tmp_path / "copy")
    best = project.ok("best", "--json").document()
    names = [f"{EXPERIMENT}/{best[key]}" for key in ("mlflow_parent_run_id", "mlflow_run_id")]

    wanted = _predicted_by_trial(project.path / best["output_dir"], project.path / "x.npy")
    for name in names:
        # What a GPU in the machine has MLflow do.
        device = {"MLFLOW_DEFAULT_PREDICTION_DEVICE": "cuda"}
        project.ok("predict", "x.npy", "--mlflow", name, "--out", "y.npy", **device)
        np.testing.assert_allclose(np.load(project.path / "y.npy"), wanted, rtol=1e-6, atol=1e-6)
    project.ok("predict", "x.npy", "--mlflow", names[0], "--out", "y.csv")
    head = (project.path / "y.csv").read_text(encoding="utf-8").splitlines()[0]
    assert head == "a,flow [m/s]"


@pytest.mark.slow
def test_what_is_no_network_in_mlflow_is_refused_in_a_sentence(
    whole: Project, tmp_path: Path
) -> None:
    project = copy_of(whole, tmp_path / "copy")
    run_id = project.ok("best", "--json").document()["mlflow_parent_run_id"]
    np.save(project.path / "narrow.npy", np.zeros((3, 1, 32), dtype=np.float32))

    refused = {
        ("x.npy", "--mlflow", "nothing"): (2, "names no model; valid: EXPERIMENT/RUN_ID, models:/"),
        ("x.npy", "--mlflow", f"other/{run_id}"): (3, "there is no experiment 'other'"),
        ("x.npy", "--mlflow", "models:/none@champion"): (3, "models:/none@champion is not in"),
        ("narrow.npy", "--mlflow", f"{EXPERIMENT}/{run_id}"): (2, "signals must be (N, 2, 32)"),
        ("x.npy", "--mlflow", "a/b", "--trial", "1"): (2, "--mlflow goes with no other option"),
        ("x.npy", "--mlflow", "a/b", "--device", "cuda"): (2, "stays on the CPU"),
    }
    for arguments, (code, words) in refused.items():
        result = project.tunectl("predict", *arguments)
        assert (result.code, result.out) == (code, ""), result
        assert words in result.err and result.err.count("\n") == 1, result.err


def _predicted_without_us(uri: str, server: MlflowServer, x: Path, folder: Path) -> Any:
    site = folder / "site"
    site.mkdir()
    for entry in _site_packages().iterdir():
        if "tunectl" not in entry.name and entry.suffix != ".pth":
            (site / entry.name).symlink_to(entry)
    script, out = folder / "load.py", folder / "y.npy"
    script.write_text(LOADS_WITHOUT_US)
    subprocess.run(
        [sys.executable, "-S", "-P", script, uri, x, out],
        env={
            **environment_with({"MLFLOW_TRACKING_URI": server.uri, "PYTHONPATH": str(site)}),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        },
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=300,
    )
    return np.load(out)


def _site_packages() -> Path:
    return Path(np.__file__).parents[1]


def _predicted_by_trial(directory: Path, x: Path) -> Any:
    """Return what the trial's own network says, scaled by hand."""
    import torch

    from tunectl.artifacts.trial_dir import TrialDir
    from tunectl.training.packaged import load_packaged

    with torch.inference_mode():
        return load_packaged(TrialDir(directory))(torch.from_numpy(np.load(x))).numpy()


@pytest.mark.long
@pytest.mark.slow
def test_a_tune_that_is_to_register_does_so_at_its_end(
    server: MlflowServer, tmp_path: Path
) -> None:
    project = mirrored_project(tmp_path, server.uri, "registers")
    options = ("mlflow.register_best=true", "mlflow.registered_model_name=of_tune")

    project.ok("tune", "--n-trials", "1", *options)

    found = server.get("model-versions/get", name="of_tune", version="1")["model_version"]
    assert found["aliases"] == ["champion"]
    best = project.ok("best", "--json").document()
    assert best["mlflow_run_id"] is not None
    info = project.yaml("optuna/best_trial_info.yaml")
    assert info["mlflow_run_id"] == best["mlflow_run_id"]


@pytest.mark.long
def test_a_study_whose_server_was_killed_is_mirrored_later_as_if_it_had_not_been(
    whole: Project, server: MlflowServer, tmp_path: Path
) -> None:
    project = mirrored_project(tmp_path, server.uri, "with")
    with project.started("tune") as process:
        said = wait_until(process, "[2/4]")
        server.kill()
        _, rest = process.communicate(timeout=300)
    assert process.returncode == 0
    assert (said + rest).count("the study goes on without it") == 1
    assert "later: tunectl mlflow sync --study with" in rest
    failed = project.tunectl("mlflow", "sync")
    assert failed.code == 1
    assert "cannot be reached" in failed.said

    server.start()
    project.ok("mlflow", "sync")

    runs = server.runs(EXPERIMENT)
    parent, children = of_study(runs, "with")
    as_it_should, others = of_study(runs, "without")
    assert content(parent) == content(as_it_should)
    assert sorted(children) == sorted(others)
    for number, run in children.items():
        assert content(run) == content(others[number])


@pytest.mark.slow
@pytest.mark.long
def test_a_server_that_hangs_holds_up_no_trial(server: MlflowServer, tmp_path: Path) -> None:
    project = mirrored_project(tmp_path, server.uri, "hanging")
    with server.stopped():
        result = project.ok("tune", "--n-trials", "2")

    assert "no answer within" in result.err
    assert "later: tunectl mlflow sync" in result.err
    first, second = project.trials("hanging")
    assert first.datetime_complete is not None and second.datetime_start is not None
    pause = second.datetime_start - first.datetime_complete
    assert pause.total_seconds() < 3.0 + 10.0  # a call that waited would have waited for longer


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project with an old study that was mirrored to the local store afterwards.

    All processes of pytest-xdist share it, so a test may only do what leaves it as it is.
    """
    mixed = mixed_project(tmp_path_factory)

    def mirror(folder: Path) -> None:
        project = copy_of(mixed, folder)
        project.write(config=config_for(None), params=PARAMS)
        project.ok("mlflow", "sync")

    return WarmProject(made_once(tmp_path_factory, "mirrored", mirror))


def dump(project: Project) -> str:
    with closing(sqlite3.connect(project.path / "optuna" / "mlflow.db")) as connection:
        return "\n".join(connection.iterdump())


@pytest.mark.slow
def test_an_old_study_is_mirrored_with_the_states_of_its_trials(local: Project) -> None:
    with closing(sqlite3.connect(local.path / "optuna" / "mlflow.db")) as connection:
        rows = connection.execute(
            "select t.value, r.status from runs r join tags t using (run_uuid) "
            "where t.key = 'tunectl.state' order by r.status"
        ).fetchall()

    states = {state for state, _ in rows}
    assert {"complete", "pruned", "failed"} <= states
    wanted = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
    assert all(wanted.get(state, "FINISHED") == status for state, status in rows)
    assert len(rows) == 6  # five trials and the study


@pytest.mark.slow
def test_doctor_says_which_trials_mlflow_lacks(local: Project, tmp_path: Path) -> None:
    project = copy_of(local, tmp_path / "copy")

    def found() -> dict[str, str]:
        findings = project.tunectl("doctor", "--json").document()["findings"]
        return {one["code"]: one["message"] for one in findings if "mlflow" in one["code"]}

    assert list(found()) == ["mlflow-sound"]
    (project.path / "optuna" / "mlflow.db").unlink()
    assert "ended trials are not in MLflow" in found()["mlflow-behind"]
    assert not (project.path / "optuna" / "mlflow.db").exists()
    config = project.path / "config.yaml"
    config.write_text("mlflow: {tracking_uri: 'http://ann:secret@127.0.0.1:9'}\n")
    assert "it cannot be reached" in found()["mlflow-unreachable"]
    assert "secret" not in found()["mlflow-unreachable"]


@pytest.mark.slow
def test_the_first_champion_of_a_local_store_is_registered_and_can_be_loaded(
    local: Project, tmp_path: Path
) -> None:
    project = copy_of(local, tmp_path / "copy")
    shutil.rmtree(project.path / "optuna" / "mlflow-artifacts")
    (project.path / "optuna" / "mlflow.db").unlink()  # the study still knows its runs in it

    made = project.ok("best", "--register", "--json").document()

    assert (made["version"], made["is_new"]) == ("1", True)
    assert not (project.path / "mlflow.db").exists()
    uri = f"models:/{made['name']}@champion"
    project.ok("predict", "x.npy", "--mlflow", uri, "--out", "by_name.npy")
    project.ok("predict", "x.npy", "--out", "y.npy")
    y, by_name = (np.load(project.path / f"{name}.npy") for name in ("y", "by_name"))
    np.testing.assert_allclose(by_name, y, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_a_second_sync_of_a_local_store_leaves_every_row_as_it_was(local: Project) -> None:
    before = dump(local)

    local.ok("mlflow", "sync")

    assert dump(local) == before


@pytest.mark.slow
def test_a_trial_that_nobody_runs_any_more_is_shown_as_killed(tmp_path: Path) -> None:
    project = small_project(tmp_path, config=config_for(None))
    project.ok("study", "create")
    project.study("small").ask()
    with project.started("mlflow", "sync") as process:
        wait_for_file(project, "optuna/mlflow.db.new")
        process.kill()  # a store that is half made is made again

    document = project.ok("mlflow", "sync", "--json").document()

    with closing(sqlite3.connect(project.path / "optuna" / "mlflow.db")) as connection:
        rows = connection.execute("select name, status from runs order by name").fetchall()
    assert rows == [("small", "KILLED"), ("trial_0", "KILLED")]
    assert (document["best_run_id"], document["model_uri"]) == (None, None)


@pytest.mark.slow
def test_the_page_is_shown_on_loopback_and_nothing_is_left_of_it(local: Project) -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [TUNECTL, "mlflow", "ui", "--port", str(port)],
        cwd=local.path,
        env=environment_with({}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for_page(port)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
        with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
            probe.connect(("127.0.0.1", port))
    finally:
        process.kill()


def _wait_for_page(port: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the page did not come up")


def test_what_was_never_mirrored_has_no_link(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    project.ok("study", "create")

    result = project.tunectl("mlflow", "link")

    assert result.code == 3
    assert "tunectl mlflow sync --study small" in result.err


def test_runs_on_another_server_have_no_link_here(tmp_path: Path) -> None:
    project = small_project(tmp_path, config=config_for("http://127.0.0.1:9"))
    project.ok("study", "create")
    ids = {"experiment_id": "1", "parent_run_id": "p"}
    known = {"study": "small", "study_id": "s", "uri": "http://127.0.0.1:8", **ids}
    project.study("small").set_user_attr("tunectl:mlflow", known)

    elsewhere = project.tunectl("mlflow", "link")
    project.study("small").set_user_attr("tunectl:mlflow", {**known, "uri": "http://127.0.0.1:9"})
    here = project.ok("mlflow", "link")

    assert (elsewhere.code, elsewhere.out) == (3, "")
    assert "is not in MLflow at http://127.0.0.1:9 yet" in elsewhere.said
    assert here.out == "http://127.0.0.1:9/#/experiments/1/runs/p\n"


@pytest.mark.slow
def test_a_sync_that_fails_shows_no_password(tmp_path: Path) -> None:
    uri = "http://ann:sec/ret@127.0.0.1:9/?password=secret"
    project = small_project(tmp_path, config=config_for(f'"{uri}"'))
    project.ok("study", "create")

    result = project.tunectl("mlflow", "sync")

    assert result.code == 1
    assert "MLflow at http://…@127.0.0.1:9" in result.said
    assert "the address cannot be read" in result.said
    assert not any(part in result.said for part in ("ann:", "sec", "ret"))


@pytest.mark.slow
def test_a_killed_tune_leaves_no_run_running_and_no_model_behind(
    local: Project, tmp_path: Path
) -> None:
    project = copy_of(local, tmp_path / "copy")
    (project.path / "optuna" / "mlflow.db").unlink()
    project.write(optuna_params=SEARCH, params=PARAMS.replace("epochs: 2", "epochs: 100000"))
    models = tmp_path / "models"
    models.mkdir()
    process = subprocess.Popen(
        [TUNECTL, "tune"],
        cwd=project.path,
        env=environment_with({"TMPDIR": str(models)}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(lambda: "trial_0" in statuses(project))
    finally:
        process.kill()
        process.wait()

    _wait_for(lambda: not any(models.glob("tunectl-*")))
    assert statuses(project) == {"small": "KILLED", "trial_0": "KILLED"}


def statuses(project: Project) -> dict[str, str]:
    file = project.path / "optuna" / "mlflow.db"
    if not file.exists():
        return {}
    with closing(sqlite3.connect(file)) as connection:
        return dict(connection.execute("select name, status from runs").fetchall())


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
