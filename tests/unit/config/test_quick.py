"""What quick commands read of the files, against what the long way makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunectl.config.load import load_surroundings, read_study_name
from tunectl.config.quick import glance_at_study, glance_at_url, read_surroundings
from tunectl.config.templates import render
from tunectl.errors import ConfigError

GOOD = (
    "",
    "{}",
    render()["config.yaml"],
    "paths: {optuna_dir: elsewhere}",
    "storage: {url: 'sqlite:///here.db?timeout=5'}",
    "storage: {url: 'postgresql+psycopg://me:secret@there/studies'}",
    "storage:\npaths:\n",  # an empty section means the defaults
    "paths: {outputs_root: out, optuna_dir: '${paths.outputs_root}/db'}",
    "plugins: {allow: [mine]}\nruntime: {workers: 2}\nlogging: {level: debug}",
)
WRONG = (
    "paths: {optuna_dirs: x}",
    "paths: {optuna_dir: ''}",
    "paths: [",
    "storage: {url: '???'}",
    "runtime: {workers: x}\npaths: {optuna_dir: 3}",
    "- a list",
)


@pytest.mark.parametrize("text", GOOD)
def test_the_short_way_reads_what_the_long_way_reads(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")

    surroundings = read_surroundings(tmp_path)

    assert surroundings == load_surroundings(tmp_path)
    assert glance_at_url(tmp_path, None) == surroundings.database_url(tmp_path)


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_as_the_long_way_says_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as expected:
        load_surroundings(tmp_path)

    with pytest.raises(ConfigError) as raised:
        read_surroundings(tmp_path)

    assert raised.value.problems == expected.value.problems


def test_without_files_the_defaults_hold(tmp_path: Path) -> None:
    assert read_surroundings(tmp_path) == load_surroundings(tmp_path)
    assert glance_at_url(tmp_path, None) == f"sqlite:///{tmp_path}/optuna/study.db"
    assert glance_at_url(tmp_path, "sqlite:///x.db") == f"sqlite:///{tmp_path}/x.db"
    assert glance_at_study(tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "study: {name: mine}", "study: {name: 'a-${study.seed}'}", "study:\n"]
)
def test_the_name_of_the_study_is_that_of_the_long_way(text: str, tmp_path: Path) -> None:
    for name, content in {**render(), "optuna_params.yaml": text}.items():
        (tmp_path / name).write_text(content, encoding="utf-8")

    assert glance_at_study(tmp_path) == read_study_name(tmp_path)
