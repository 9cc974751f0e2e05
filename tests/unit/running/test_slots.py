"""How the cores are shared between workers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunectl import cores
from tunectl.config.schema import Settings
from tunectl.cores import available_cores
from tunectl.running.slots import max_threads, with_threads


@pytest.fixture(autouse=True)
def six_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(6), raising=False)
    monkeypatch.setattr(cores, "CPU_MAX", str(tmp_path / "cpu.max"))
    monkeypatch.setattr(cores, "SIBLINGS", str(tmp_path / "siblings-{}"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


def settled(settings: Settings, n_workers: int, **runtime: Any) -> int:
    changed = settings.surroundings.runtime.model_copy(update=runtime)
    surroundings = settings.surroundings.model_copy(update={"runtime": changed})
    return max_threads(
        with_threads(settings.model_copy(update={"surroundings": surroundings}), n_workers)
    )


@pytest.mark.parametrize(("n_workers", "threads"), [(1, 6), (2, 3), (4, 1), (9, 1)])
def test_the_cores_are_shared_out(settings: Settings, n_workers: int, threads: int) -> None:
    assert settled(settings, n_workers) == threads


def test_what_the_user_says_stands(settings: Settings) -> None:
    assert settled(settings, 2, threads_per_worker=5) == 5
    assert settled(settings, 1, max_threads=2) == 2


def test_null_shares_the_cores_whatever_the_network(settings: Settings) -> None:
    assert settled(settings, 1, threads_per_worker=None) == 6
    assert settled(settings, 2, threads_per_worker=None) == 3


@pytest.mark.parametrize(("said", "threads"), [("2", 2), ("4,2", 4), ("99", 6), ("many", 6)])
def test_the_environment_may_allow_less(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, said: str, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)

    assert settled(settings, 1) == threads


@pytest.mark.parametrize(
    ("limit", "left"), [("max 100000", 6), ("250000 100000", 2), ("50000 100000", 1)]
)
def test_a_container_may_have_the_time_of_fewer_cores(
    tmp_path: Path, limit: str, left: int
) -> None:
    (tmp_path / "cpu.max").write_text(f"{limit}\n")

    assert available_cores() == left


@pytest.mark.parametrize(("limit", "threads"), [(None, 3), ("200000 100000", 2)])
def test_two_hardware_threads_of_a_core_count_once(
    settings: Settings, tmp_path: Path, limit: str | None, threads: int
) -> None:
    for processor in range(6):
        (tmp_path / f"siblings-{processor}").write_text(f"{processor % 3},{processor % 3 + 3}\n")
    if limit is not None:
        (tmp_path / "cpu.max").write_text(f"{limit}\n")

    assert settled(settings, 1) == threads
