from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.image import imread
from optuna.distributions import IntDistribution

from drawn_studies import WEIGHT, make_study, make_trial, ordinary, studies
from tunectl.reports.figures.case import FigureCase, open_case
from tunectl.reports.figures.files import concerned
from tunectl.reports.figures.importances import lack_of_importances
from tunectl.reports.figures.kinds import KINDS, Kind
from tunectl.reports.figures.look import drawing
from tunectl.reports.figures.names import Importance, KindName
from tunectl.reports.figures.timeline import timeline_of

STUDIES = studies()


def kind_of(name: KindName) -> Kind:
    return next(kind for kind in KINDS if kind.name is name)


def case_of(what: str) -> FigureCase:
    return open_case(STUDIES[what], Path("/nowhere"))


def drawn(what: str) -> Iterator[tuple[Kind, FigureCase]]:
    """Yield each kind that a study has enough for, once for each metric where it is of one."""
    case = case_of(what)
    for kind in KINDS:
        for focus in range(len(case.metrics) if kind.scope == "metric" else 1):
            shown = case.on(focus)
            lack = kind.lack(shown)
            if lack is None:
                yield kind, shown
            else:
                assert lack.strip(), kind.name


def assert_is_drawn(figure: Figure) -> None:
    file = io.BytesIO()
    with drawing():
        figure.savefig(file, format="png", dpi=40)
    file.seek(0)
    assert imread(file).std() > 0.01, "the figure is blank"


def test_the_kinds_are_those_that_can_be_named_and_in_that_order() -> None:
    assert [kind.name for kind in KINDS] == list(KindName)


@pytest.mark.parametrize("what", STUDIES)
def test_every_kind_is_drawn_by_both_libraries_or_says_what_is_missing(what: str) -> None:
    for kind, case in drawn(what):
        assert kind.static(case).axes, kind.name
        assert kind.interactive(case).to_json(), kind.name
    assert not pyplot.get_fignums(), "a figure was left open"


@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    [
        "one trial",
        "values that are not finite",
        "names with odd characters",
        "40 parameters with long names",
        "2 metrics",
        *(
            pytest.param(what, marks=pytest.mark.long)
            for what in ("two trials", "zeros", "a changed space", "many choices", "4 metrics")
        ),
    ],
)
def test_odd_studies_are_not_blank_on_paper(what: str) -> None:
    for kind, case in drawn(what):
        assert_is_drawn(kind.static(case))


def test_two_thousand_trials_are_drawn_and_their_pages_stay_small() -> None:
    case = open_case(make_study(ordinary(2000)), Path("/nowhere"))
    for kind in KINDS:
        if kind.lack(case) is None:
            assert kind.static(case).axes
            assert len(kind.interactive(case).to_json()) < 2_000_000, kind.name


@pytest.mark.parametrize(
    ("what", "drawn"),
    [
        ("no trial", set()),
        ("all failed", {KindName.TIMELINE}),
        (
            "all pruned",
            {KindName.HISTORY, KindName.INTERMEDIATE, KindName.TIMELINE},
        ),
        ("one trial", {KindName.HISTORY, KindName.INTERMEDIATE, KindName.TIMELINE}),
    ],
)
def test_little_data_is_enough_for_what_it_can_show(what: str, drawn: set[KindName]) -> None:
    case = case_of(what)
    found = {kind.name for kind in KINDS if kind.lack(case) is None}
    assert found - {KindName.LEARNING_CURVES} == drawn


def test_pruned_trials_are_told_apart_in_the_history() -> None:
    case = case_of("twenty trials")
    traces = {one.name: one for one in kind_of(KindName.HISTORY).interactive(case).data}
    assert list(traces["pruned, last value"].x) == [5, 12, 19]
    assert not set(traces["pruned, last value"].x) & set(traces["complete"].x)


def test_an_infinitely_good_value_is_not_the_best_one() -> None:
    case = case_of("values that are not finite")
    assert case.best == 5
    figure = kind_of(KindName.HISTORY).static(case)
    (line,) = [one for one in figure.axes[0].lines if one.get_label() == "best so far"]
    assert np.min(np.asarray(line.get_ydata(), dtype=float)) == 1e-300


def test_a_parameter_on_a_log_scale_has_a_log_axis() -> None:
    case = open_case(
        make_study(
            [make_trial(n, values=[float(n)]) for n in range(6)],
        ),
        Path("/nowhere"),
    )
    panels = {one.get_xlabel(): one for one in kind_of(KindName.SLICE).static(case).axes}
    assert panels["training.learning_rate"].get_xscale() == "log"
    assert panels["model.hidden"].get_xscale() == "linear"


def test_importances_leave_out_what_only_some_trials_have() -> None:
    case = case_of("conditional parameters")
    assert WEIGHT in case.varied and WEIGHT not in case.importances
    assert sum(case.importances.values()) == pytest.approx(1.0)
    kind = kind_of(KindName.IMPORTANCES)
    label = kind.static(case).axes[0].get_xlabel()
    assert "rough" in label
    assert label.endswith(f"not ranked, since only some trials have it: {case.labels[WEIGHT]}")
    page = kind.interactive(case).layout.xaxis.title.text
    assert page.replace("<br>", "\n") == label
    assert WEIGHT not in case.common and case.ranked[-1] == WEIGHT


def test_whole_numbers_have_whole_ticks() -> None:
    space = {"a.factor": IntDistribution(1, 4), "b.epochs": IntDistribution(1, 6)}
    case = open_case(make_study(ordinary(30, space=space)), Path("/nowhere"))
    names = [KindName.SLICE, KindName.CONTOUR, KindName.RANK]
    for name in names:
        figure = kind_of(name).static(case)
        figure.draw_without_rendering()
        marked = [
            axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)
            if axis.get_label_text() in space
        ]  # fmt: skip
        assert marked
        assert all(float(tick).is_integer() for axis in marked for tick in axis.get_ticklocs())
        page = kind_of(name).interactive(case).to_plotly_json()["layout"]
        linear = [page[key] for key in page if "axis" in key and page[key].get("type") != "log"]
        ticks = [tick for axis in linear for tick in axis.get("tickvals") or []]
        assert ticks and all(float(tick).is_integer() for tick in ticks)

    page = kind_of(KindName.PARALLEL).interactive(case)
    texts = [one.text for one in page.layout.annotations if one.x > 0]
    assert texts and all(text.isdigit() for text in texts)


def test_a_few_far_worse_values_do_not_flatten_the_others() -> None:
    values = [-0.1, -0.2, -0.3, -0.25, -0.15, -0.2, -1000.0]
    trials = [make_trial(n, values=[value]) for n, value in enumerate(values)]
    study = make_study(trials, directions=("maximize",), metrics=("val_r2",))
    axes = kind_of(KindName.HISTORY).static(open_case(study, Path("/nowhere"))).axes[0]
    assert axes.get_ylim()[0] > -2
    assert "1 far worse" in axes.get_ylabel()


def test_no_two_parameters_share_a_label() -> None:
    case = case_of("40 parameters with long names")
    assert len(set(case.labels.values())) == 40
    assert max(map(len, case.labels.values())) < 40


def test_a_study_of_several_metrics_has_a_figure_for_each() -> None:
    case = case_of("2 metrics")
    labels = [
        kind_of(KindName.HISTORY).static(case.on(focus)).axes[0].get_ylabel() for focus in (0, 1)
    ]
    assert labels == ["metric 0", "metric 1"]


def test_importances_by_fanova_on_request() -> None:
    study = STUDIES["twenty trials"]
    case = open_case(study, Path("/nowhere"), importance=Importance.FANOVA)
    assert lack_of_importances(case) is None
    assert sum(case.importances.values()) == pytest.approx(1.0)
    assert "fANOVA" in kind_of(KindName.IMPORTANCES).static(case).axes[0].get_xlabel()


def test_compared_studies_have_a_line_each() -> None:
    other = make_study(ordinary(8), name="other")
    case = open_case(STUDIES["twenty trials"], Path("/nowhere"), others=[other])
    names = [one.name for one in kind_of(KindName.EDF).interactive(case).data]
    assert names == ["drawn (17 trials)", "other (7 trials)"]


def test_the_timeline_has_a_line_for_each_worker() -> None:
    timeline = timeline_of(case_of("twenty trials"))
    assert timeline.lanes == ["node, worker 1", "node, worker 2"]
    assert {bar.lane for bar in timeline.bars if bar.number % 2 == 0} == {0}


def test_workers_that_never_met_share_a_line() -> None:
    study = make_study([make_trial(n, values=[1.0], pid=100 + n) for n in range(5)])
    assert timeline_of(open_case(study, Path("/nowhere"))).lanes == ["node"]


def test_trials_of_unknown_workers_stand_on_as_few_lines_as_they_need() -> None:
    study = make_study([make_trial(n, values=[1.0]) for n in range(5)])
    assert timeline_of(open_case(study, Path("/nowhere"))).lanes == ["not known"]


def classifying(project: Path, document: object) -> FigureCase:
    """Return a study of one trial that has left this `metrics.json`."""
    (project / "trial").mkdir()
    (project / "trial" / "metrics.json").write_text(json.dumps(document))
    trial = make_trial(0, values=[0.5], curve=[0.5])
    trial.user_attrs["output_dir"] = "trial"
    return open_case(make_study([trial]), project)


def test_a_trial_that_tells_classes_apart_has_a_confusion_matrix(tmp_path: Path) -> None:
    matrix = [[5, 1], [0, 4]]
    case = classifying(tmp_path, {"confusion": matrix, "per_class": {"$a$": {}, "<b>": {}}})

    kind = kind_of(KindName.CONFUSION)
    assert kind.lack(case) is None
    assert_is_drawn(kind.static(case))
    shown = kind.interactive(case).data[0]
    assert [[cell[0] for cell in row] for row in shown.customdata] == matrix
    assert KindName.CONFUSION in concerned(case)
    assert KindName.PREDICTED not in concerned(case), "there are no targets that one could miss"
    assert KindName.CONFUSION in str(kind_of(KindName.PREDICTED).lack(case))


@pytest.mark.parametrize(
    "document",
    [
        {"confusion": [[1, 2]], "per_class": {"a": {}, "b": {}}},
        {"confusion": [["x", 1], [1, 1]], "per_class": {"a": {}, "b": {}}},
        {"confusion": [[-1, 1], [1, 1]], "per_class": {"a": {}, "b": {}}},
        {"confusion": [[1, 1], [1, 1]]},
        [],
    ],
)
def test_a_damaged_confusion_matrix_is_none(tmp_path: Path, document: object) -> None:
    assert kind_of(KindName.CONFUSION).lack(classifying(tmp_path, document)) is not None
