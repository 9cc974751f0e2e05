"""The report as a file: whole whatever the study is, small, and with nothing in it that acts."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from drawn_studies import make_study, make_trial, ordinary, studies
from tunectl.errors import OutputError, UsageError
from tunectl.reports.page.write import write_report

STUDIES = studies()
MEGABYTE = 1e6
EVIL = "<script>alert('x')</script>"


def report_of(study: optuna.Study, folder: Path, storage: str = "sqlite:///x.db") -> str:
    written = write_report(study, storage, folder, folder / "made" / "report.html")
    assert [file.name for file in written.path.parent.iterdir()] == ["report.html"]
    return written.path.read_text(encoding="utf-8")


def text_of(page: str) -> str:
    """Return what there is to read on a page, on one line."""
    bare = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", "", bare)).split())


def data_of(page: str, name: str) -> Any:
    """Return what the page's script finds under a name."""
    packed = re.search(rf'id="data-{name}">([A-Za-z0-9+/=]*)</script>', page)
    assert packed is not None
    return json.loads(gzip.decompress(base64.b64decode(packed[1])), parse_constant=pytest.fail)


@pytest.mark.parametrize("what", STUDIES)
def test_every_study_has_a_report(what: str, tmp_path: Path) -> None:
    study = STUDIES[what]
    page = report_of(study, tmp_path)
    trials = study.get_trials()
    assert len(page) < 3 * MEGABYTE
    table = data_of(page, "table")
    assert [row[0] for row in table["rows"]] == [trial.number for trial in trials]
    assert all(len(row) == len(table["columns"]) for row in table["rows"])
    identities = [one["id"] for one in data_of(page, "figures")]
    assert len(set(identities)) == len(identities)
    assert all(f'id="{one}"' in page for one in identities)
    is_complete = any(trial.state is TrialState.COMPLETE for trial in trials)
    assert ("No trial is complete yet" in text_of(page)) is not is_complete


def test_a_study_of_two_hundred_trials_stays_below_five_megabytes(tmp_path: Path) -> None:
    space = {f"model.part_{n}.width": FloatDistribution(0, 1) for n in range(20)}
    page = report_of(make_study(ordinary(200, space=space)), tmp_path)
    assert len(page.encode()) < 5 * MEGABYTE
    assert page.count("plotly.js") <= 1


@pytest.mark.slow
def test_a_study_of_two_thousand_trials_stays_below_five_megabytes(tmp_path: Path) -> None:
    page = report_of(make_study(ordinary(2000)), tmp_path)
    assert len(page.encode()) < 5 * MEGABYTE
    assert len(data_of(page, "table")["rows"]) == 2000


def test_the_same_study_gives_the_same_bytes_but_for_the_time(tmp_path: Path) -> None:
    pages = [report_of(make_study(ordinary(9)), tmp_path / name) for name in ("a", "b")]
    first, second = (re.sub(r"Made [\d\- :]+ UTC", "", page) for page in pages)
    assert first == second


def test_nothing_that_a_user_wrote_acts(tmp_path: Path) -> None:
    space = {EVIL: FloatDistribution(0, 1), "c": CategoricalDistribution((EVIL, "</script>"))}
    trials = [make_trial(n, values=[float(n)], space=space) for n in range(6)]
    failed = make_trial(6, state=TrialState.FAIL, space=space)
    failed.user_attrs = {"error": f"{EVIL} --> ]]> {{{{ 7 * 7 }}}}", "output_dir": EVIL}
    page = report_of(make_study([*trials, failed], name=EVIL, metrics=[EVIL]), tmp_path, EVIL)
    assert "alert(" not in re.sub(r"&lt;script&gt;alert\(", "", page)
    assert page.count("<script") == page.count("</script>") == 4
    assert "{{ 7 * 7 }}" in text_of(page)
    assert data_of(page, "table")["rows"][6][-1] == EVIL


def test_no_password_is_in_it(tmp_path: Path) -> None:
    address = "postgresql://me:s3cret@host/studies"
    failed = make_trial(0, state=TrialState.FAIL)
    failed.user_attrs = {"error": f"cannot reach {address}"}
    page = report_of(make_study([failed, *ordinary(9)]), tmp_path, address)
    assert "s3cret" not in page
    assert "s3cret" not in json.dumps(data_of(page, "table"))
    assert "me:***@host" in text_of(page)


def test_reasons_are_counted_and_the_most_frequent_comes_first(tmp_path: Path) -> None:
    trials = [make_trial(n, state=TrialState.FAIL) for n in range(20)]
    for trial in trials[3:]:
        trial.user_attrs = {"error": "memory ran out"}
    text = text_of(report_of(make_study(trials), tmp_path))
    often = text.index("17failedmemory ran out")
    assert often < text.index("3failedit does not say why0, 1, 2")
    assert "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14 and 5 more" in text


def test_what_stood_in_directories_that_are_gone_is_said_to_be_missing(tmp_path: Path) -> None:
    trials = ordinary(4)
    for number, trial in enumerate(trials):
        trial.user_attrs = {"output_dir": f"outputs/2026-01-31/12-00-0{number}"}
    (tmp_path / "outputs/2026-01-31/12-00-01").mkdir(parents=True)
    text = text_of(report_of(make_study(trials), tmp_path))
    assert "The directories of 3 trials are not here" in text
    assert "so that there is no fingerprint" in text


def test_each_metric_has_its_own_best_trial(tmp_path: Path) -> None:
    values = [[1.0, 30.0], [3.0, 10.0], [2.0, 20.0], [4.0, 40.0]]
    trials = [make_trial(n, values=pair) for n, pair in enumerate(values)]
    study = make_study(trials, directions=("minimize", "maximize"), metrics=("loss", "speed"))
    text = text_of(report_of(study, tmp_path))
    assert "best loss1trial 0" in text
    assert "best speed40trial 3" in text


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    study = STUDIES["no trial"]
    with pytest.raises(UsageError, match="is a folder"):
        write_report(study, "", tmp_path, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write_report(study, "", tmp_path, tmp_path / "file" / "report.html")
