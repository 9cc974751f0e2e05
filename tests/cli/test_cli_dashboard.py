"""The page of optuna-dashboard: it follows a study that runs, and nothing changes through it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from cli_project import SEARCH, Project, wait_until
from playwright.sync_api import Browser
from warm_project import WarmProject, mixed_project, small_project

from browser import watched

DRAWN = """() => [...document.querySelectorAll("img[src*='/artifacts/']")].every(
    one => one.complete && one.naturalWidth > 100)"""
WITHOUT_IT = """\
import sys
sys.modules["optuna_dashboard"] = None
sys.argv = ["tunectl", "dashboard"]
from tunectl.__main__ import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return mixed_project(tmp_path_factory)


@contextmanager
def shown(project: Project, *arguments: str) -> Iterator[tuple[str, Any]]:
    """Serve the page; yield the address that it said and its process."""
    with project.started("dashboard", "--port", str(free_port()), *arguments) as process:
        said = wait_until(process, "Ctrl-C")
        address = re.search(r"http://\S+", said)
        assert address is not None, said
        yield address[0], process


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(address: str, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, str]:
    """Ask the page's server; return status, body and type of what it answers."""
    root = "/".join(address.split("/")[:3])
    body = b"{}" if method not in ("GET", "HEAD") else None
    headers = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(f"{root}{path}", body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as found:
            return found.status, found.read(), found.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers["Content-Type"]


@pytest.mark.slow
def test_the_page_follows_a_study_that_runs(tmp_path: Path, browser: Browser) -> None:
    project = small_project(tmp_path, optuna_params=SEARCH.replace("n_trials: 4", "n_trials: 400"))
    with project.started("tune") as tuning, shown_when_made(project) as (address, _):
        with watched(browser) as watch:
            page = watch.page
            page.goto(f"{address}/trials")
            count = page.get_by_text(re.compile(r"^\d+ Trials$"))
            count.wait_for()
            first = int(count.inner_text().split()[0])
            more = re.compile(rf"^(?!{first} )\d+ Trials$")
            page.get_by_text(more).wait_for()
            assert int(count.inner_text().split()[0]) > first
            assert "small" in page.locator("header").inner_text()

            page.goto(f"{address}/trials?numbers=0")
            page.get_by_text("learning_curves.png").wait_for()
            pictures = page.locator("img[src*='/artifacts/']")
            pictures.first.wait_for()
            assert pictures.count() >= 3
            page.wait_for_function(DRAWN)
            assert watch.problems == []
            assert all(one.startswith(("http://127.0.0.1", "data:")) for one in watch.requests)
        tuning.send_signal(signal.SIGINT)
        assert tuning.wait(60) == 130
    assert {trial.state.name for trial in project.trials("small")[:-1]} == {"COMPLETE"}


@contextmanager
def shown_when_made(project: Project) -> Iterator[tuple[str, Any]]:
    """Serve the page as soon as the study has a trial that has ended."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (project.path / "optuna" / "studies" / "small" / "study_summary.json").exists():
            break
        time.sleep(0.05)
    with shown(project) as page:
        yield page


@pytest.mark.slow
def test_every_trial_has_its_figures_and_the_database_is_as_it_was(mixed: Project) -> None:
    before = mixed.database()
    with shown(mixed) as (address, process):
        study_id = address.rpartition("/")[2]
        _, body, _ = answer(address, f"/api/studies/{study_id}")
        trials = {one["state"]: one for one in json.loads(body)["trials"]}
        for state, names in {
            "Complete": {"learning_curves.png", "overview.png", "metrics.json", "trial.log"},
            "Pruned": {"learning_curves.png", "trial.log"},
            "Fail": {"trial.log", "config.yaml"},
        }.items():
            files = {one["filename"]: one for one in trials[state]["artifacts"]}
            assert names <= files.keys()
            for file in files.values():
                place = f"/artifacts/{study_id}/{trials[state]['trial_id']}/{file['artifact_id']}"
                status, content, kind = answer(address, place)
                assert (status, kind) == (200, file["mimetype"])
                assert content
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert mixed.database() == before


@pytest.mark.slow
def test_nothing_can_be_changed_through_the_page_nor_reached_under_another_name(
    mixed: Project,
) -> None:
    before = mixed.database()
    with shown(mixed, "--study", "mixed") as (address, process):
        study = f"/api/studies/{address.rpartition('/')[2]}"
        for method, path in [
            ("DELETE", study),
            ("POST", f"{study}/rename"),
            ("POST", "/api/studies"),
            ("POST", "/api/trials/1/tell"),
            ("PUT", f"{study}/note"),
            ("POST", "/incompatible-rdb-schema"),
        ]:
            status, body, _ = answer(address, path, method)
            assert (status, "only shows" in body.decode()) == (403, True), path
        assert answer(address, study, Host="example.org:80")[0] == 403
        assert answer(address, study, Host="localhost:9000")[0] == 200  # a tunnel's other end
        secret = "1-" + b"../../../config.yaml".hex()
        assert answer(address, f"/artifacts/1/1/{secret}")[0] == 404

        port = address.split(":")[2].split("/")[0]
        taken = mixed.tunectl("dashboard", "--port", port)
        assert taken.code == 2
        assert re.search(rf"{port} cannot be used .*; \d+ is free", taken.said)

        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    assert mixed.database() == before


def test_without_a_database_there_is_no_page_and_none_is_made(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    result = project.tunectl("dashboard")
    assert (result.code, "no study 'small'" in result.said) == (3, True)
    assert not (project.path / "optuna").exists()


def test_an_old_database_is_refused_and_left_as_it_is(old_database: Path) -> None:
    project = WarmProject(old_database.parents[1])
    before = old_database.read_bytes()
    result = project.tunectl("dashboard", "--study", "old")
    assert (result.code, "doctor --fix" in result.said) == (7, True)
    assert old_database.read_bytes() == before


def test_without_optuna_dashboard_it_says_how_to_get_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_IT],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'tunectl[dashboard]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_trial_without_a_directory_is_shown_without_files(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)
    (tmp_path / "optuna").mkdir()
    study = optuna.create_study(storage=project.url, study_name="bare")
    study.add_trial(optuna.trial.create_trial(value=1.0))
    with shown(project) as (address, _):
        _, body, _ = answer(address, f"/api/studies/{address.rpartition('/')[2]}")
        assert [one["artifacts"] for one in json.loads(body)["trials"]] == [[]]
