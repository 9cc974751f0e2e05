"""The report as a user opens it: in a browser, from the disk, on a phone, on paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from cli_project import Project
from playwright.sync_api import Browser, Dialog, Page
from warm_project import copy_of, mixed_project, small_project

from browser import Watched, watched
from drawn_studies import make_study, make_trial, ordinary, studies
from tunectl.reports.page.write import write_report

DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}
REPORT = "optuna/studies/mixed/report.html"
EVIL = "<img src=x onerror=alert(1)>"
STATE = "document.documentElement.dataset.state"
UNDRAWN = """[...document.querySelectorAll(".plot")].filter((plot) => {
  const box = plot.querySelector("svg.main-svg").getBoundingClientRect();
  return box.width < 200 || box.height < 100 || !plot.querySelector(".plot-container");
}).length"""
UNPRINTED = """[...document.querySelectorAll(".plot")].filter((plot) => {
  const picture = plot.querySelector("img");
  const box = picture.getBoundingClientRect();
  const interactive = plot.querySelector("svg");
  return picture.naturalWidth < 900 || box.width < 200 || interactive.checkVisibility();
}).length"""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = copy_of(mixed_project(tmp_path_factory), tmp_path_factory.mktemp("report"))
    assert project.ok("report").out == f"{project.path / REPORT}\n"
    return project


@contextmanager
def opened(browser: Browser, file: Path, **context: object) -> Iterator[Watched]:
    """Open a report from the disk and wait until it is whole; it asks for nothing else."""
    with watched(browser, **context) as watch:
        page = watch.page
        page.goto(file.as_uri())
        page.wait_for_function(STATE)
        assert page.evaluate(STATE) == "whole", watch.problems
        yield watch
        assert watch.problems == []
        assert [one for one in watch.requests if not one.startswith(("data:", "blob:"))] == [
            file.as_uri()
        ]


def figures(page: Page) -> list[str]:
    names = page.locator("figure").evaluate_all("all => all.map(one => one.id)")
    return [str(name).removeprefix("figure-") for name in names]


def overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


def cells(page: Page, column: int) -> list[str]:
    return page.locator(f"#table tbody tr td:nth-child({column})").all_inner_texts()


@pytest.mark.slow
def test_every_figure_is_drawn_and_the_best_trial_shown(mixed: Project, browser: Browser) -> None:
    best = mixed.study("mixed").best_trial
    with opened(browser, mixed.path / REPORT, **DESKTOP) as watch:
        page = watch.page
        assert {"history", "learning-curves", "predicted", "residuals"} <= set(figures(page))
        assert page.evaluate(UNDRAWN) == 0
        assert overflow(page) == 0
        assert page.locator("#best h2").inner_text() == f"Best trial: {best.number}"
        text = page.locator("#best").inner_text()
        assert all(target in text for target in ("flow [m/s]", "training.learning_rate"))
        assert "the training has diverged" in page.locator("#reasons").inner_text()
        assert "40 × 2 × 32" in page.locator("#data").inner_text()
        again = page.locator("#again").inner_text()
        assert f"tunectl trial replay {best.number} --study mixed" in again
        assert "torch" in again
        settings = page.locator("#configuration").inner_text()
        assert all(one in settings for one in ("GridSampler", "one of 0.02", "batch_size: 8"))


@pytest.mark.slow
def test_it_can_be_read_on_a_phone_in_the_dark_and_on_paper(
    mixed: Project, browser: Browser
) -> None:
    with opened(browser, mixed.path / REPORT, **PHONE, color_scheme="dark") as watch:
        page = watch.page
        assert overflow(page) == 0
        assert page.evaluate(UNDRAWN) == 0
        ground = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(ground) == "rgb(22, 25, 29)"
        page.emulate_media(media="print")
        assert page.evaluate(ground) == "rgb(255, 255, 255)"
        assert page.evaluate(UNPRINTED) == 0
        paper = page.pdf(prefer_css_page_size=True)
        assert paper.startswith(b"%PDF")
        assert paper.count(b"/Subtype /Image") >= page.locator("figure").count()


@pytest.mark.slow
def test_the_table_is_sorted_filtered_and_shown_bit_by_bit(
    tmp_path: Path, browser: Browser
) -> None:
    study = make_study(ordinary(130))
    report = write_report(study, "sqlite:///x.db", tmp_path, tmp_path / "report.html").path
    with opened(browser, report, **DESKTOP) as watch:
        page = watch.page
        count = page.locator("#count")
        assert count.inner_text() == "100 of 130 shown"
        page.locator("#more").click()
        assert count.inner_text() == "130 of 130 shown"
        assert len(cells(page, 1)) == 130

        page.get_by_role("button", name="val_mse", exact=True).click()
        values = [float(text) for text in cells(page, 3)]
        assert values == sorted(values)
        assert cells(page, 1)[0] == f"★ {study.best_trial.number}"
        page.get_by_role("button", name="val_mse", exact=True).click()
        assert float(cells(page, 3)[0]) == pytest.approx(max(values), rel=1e-4)

        page.get_by_role("checkbox", name=re.compile("complete")).uncheck()
        assert set(cells(page, 2)) == {"pruned"}
        page.locator("#filter").fill("no such word")
        assert count.inner_text() == "0 of 0 shown"


@pytest.mark.slow
def test_a_name_that_is_markup_is_only_text(tmp_path: Path, browser: Browser) -> None:
    space = {EVIL: optuna.distributions.FloatDistribution(0, 1)}
    trials = [make_trial(n, values=[0.1 * n], space=space) for n in range(6)]
    trials[0].user_attrs = {"error": EVIL, "output_dir": EVIL}
    study = make_study(trials, name=EVIL, metrics=[EVIL])
    report = write_report(study, EVIL, tmp_path, tmp_path / "report.html").path
    dialogs: list[Dialog] = []
    with opened(browser, report, **DESKTOP) as watch:
        watch.page.on("dialog", lambda dialog: dialogs.append(dialog))
        assert watch.page.locator("h1").inner_text() == EVIL
        assert EVIL in watch.page.locator("#table").inner_text()
        assert watch.page.locator("img[onerror]").count() == 0
    assert dialogs == []


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("what", [*studies(), "2,000 trials"])
def test_every_study_can_be_looked_at(what: str, tmp_path: Path, browser: Browser) -> None:
    study = make_study(ordinary(2000)) if what == "2,000 trials" else studies()[what]
    report = write_report(study, "sqlite:///x.db", tmp_path, tmp_path / "report.html").path
    for window in (DESKTOP, PHONE):
        with opened(browser, report, **window) as watch:
            assert watch.page.evaluate(UNDRAWN) == 0
            assert overflow(watch.page) == 0


@pytest.mark.slow
def test_it_goes_where_it_is_told_and_replaces_the_last_one(mixed: Project) -> None:
    (mixed.path / "shown").mkdir()
    first = mixed.ok("report", "--out", "shown/study.html", "--study", "mixed")
    file = mixed.path / "shown" / "study.html"
    assert first.out == f"{file}\n"
    file.write_text("old", encoding="utf-8")
    mixed.ok("report", "--out", str(file))
    assert file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [one.name for one in file.parent.iterdir()] == ["study.html"]


def test_a_folder_that_is_not_there_is_not_made_for_it(mixed: Project) -> None:
    refused = mixed.tunectl("report", "--out", "nowhere/at/all.html")
    assert (refused.code, refused.out) == (2, "")
    assert "there is no folder" in refused.err
    assert not (mixed.path / "nowhere").exists()


def test_without_a_study_there_is_no_report(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    result = project.tunectl("report")
    assert (result.code, "no study 'small'" in result.said) == (3, True)
    assert not (project.path / "optuna").exists()
    assert project.tunectl("report", "--out", ".").code in (2, 3)
