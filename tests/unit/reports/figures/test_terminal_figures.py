from __future__ import annotations

from pathlib import Path

import pytest

from drawn_studies import make_study, ordinary, studies
from tunectl.reports.figures.case import FigureCase, open_case
from tunectl.reports.figures.names import KindName
from tunectl.reports.figures.terminal import TEXT_LACKS, Screen, draw_as_text

STUDIES = studies()


@pytest.fixture(scope="module")
def case() -> FigureCase:
    return open_case(make_study(ordinary(30)), Path("/nowhere"))


@pytest.mark.parametrize("what", STUDIES)
def test_every_kind_is_drawn_as_text_or_says_what_is_missing(what: str) -> None:
    case = open_case(STUDIES[what], Path("/nowhere"))
    for name, lack in TEXT_LACKS.items():
        if lack(case) is None:
            assert draw_as_text(case, name, Screen()).strip()


@pytest.mark.parametrize("name", TEXT_LACKS)
@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_longer_than_the_terminal_is_wide(
    case: FigureCase, name: KindName, width: int
) -> None:
    text = draw_as_text(case, name, Screen(width=width))
    title, *lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert "val_mse" in title


@pytest.mark.parametrize("name", TEXT_LACKS)
def test_a_terminal_without_colours_and_unicode_gets_neither(
    case: FigureCase, name: KindName
) -> None:
    text = draw_as_text(case, name, Screen(is_ascii=True))
    assert text.isascii()
    assert "\x1b" not in text
    assert "?" not in text


def test_a_terminal_with_colours_gets_them(case: FigureCase) -> None:
    assert "\x1b[" in draw_as_text(case, KindName.HISTORY, Screen(has_colours=True))


def test_complete_and_pruned_trials_have_different_characters(case: FigureCase) -> None:
    plot = draw_as_text(case, KindName.HISTORY, Screen()).split("\n", 1)[1]
    assert {"o", "x"} <= set(plot)
