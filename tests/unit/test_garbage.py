"""Python looks for garbage seldom at first, and as usual from the first trial on."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tunectl.garbage import SELDOM, collect_as_usual, collect_seldom


@pytest.fixture
def usual() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    yield before
    gc.unfreeze()
    gc.set_threshold(*before)


def test_it_is_as_usual_again_once_asked_for(usual: tuple[int, int, int]) -> None:
    collect_seldom()
    collect_seldom()
    assert gc.get_threshold()[0] == SELDOM

    collect_as_usual()

    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() > 0


def test_a_program_that_uses_the_package_keeps_its_own_way(usual: tuple[int, int, int]) -> None:
    gc.set_threshold(1234)

    collect_as_usual()

    assert gc.get_threshold()[0] == 1234
    assert gc.get_freeze_count() == 0
