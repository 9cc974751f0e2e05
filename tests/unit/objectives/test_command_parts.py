"""The parts of a command objective that need no program: braces, metrics, reports, lines."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from tunectl.config.run import Command, CommandRun, MetricSource
from tunectl.config.search_schema import Search
from tunectl.errors import DivergedError, ObjectiveError
from tunectl.objectives.command.checks import find_problems, find_remarks, replaced
from tunectl.objectives.command.environment import environment_of, told_of, variable_of
from tunectl.objectives.command.metric import Listener
from tunectl.objectives.command.protocol import MalformedReport, Report, parse_report
from tunectl.objectives.command.reports import Reports
from tunectl.objectives.command.template import fill_in
from tunectl.objectives.lines import LONGEST, Lines

VALUES = {"training.rate": 1e-05, "use": True, "none": None, "name": "a b"}


def source(**values: Any) -> MetricSource:
    """Return a source of metrics as a file would give it."""
    return Command.model_validate({"command": ["x"], "metric": values}).metric


def run_of(*command: str, **more: Any) -> CommandRun:
    """Return the run of a command."""
    return CommandRun.model_validate({"objective": {"command": list(command)}, **more})


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{training.rate}", "1e-05"),
        ("--use={use} {none} {name}", "--use=true null a b"),
        ('{"rate": {training.rate}}', '{"rate": 1e-05}'),
        ("{print $1}", "{print $1}"),
        ('{"a": 1}', '{"a": 1}'),
        ("{{training.rate}}", "{{training.rate}}"),
        ("${use}", "${use}"),
        ("{no.such}", "{no.such}"),
        ("{ use }", "{ use }"),
        ("{}", "{}"),
    ],
)
def test_a_brace_that_names_a_value_gives_way_to_it_and_no_other_does(
    text: str, filled: str
) -> None:
    assert fill_in(text, VALUES) == filled


def test_a_run_can_be_sent_to_a_worker() -> None:
    run = CommandRun.model_validate(
        {"objective": {"command": ["x"], "metric": {"from": "exit"}}, "a": {"b": 1}}
    )
    again = pickle.loads(pickle.dumps(run))  # noqa: S301
    assert (again, again.objective.metric.source) == (run, "exit")


def test_what_a_value_holds_is_not_looked_at_again() -> None:
    assert fill_in("{a}", {"a": "{b}", "b": "x"}) == "{b}"


def test_every_value_has_a_variable_and_those_of_a_study_around_it_are_not_inherited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TUNECTL_PARAM_OLD", "1")
    monkeypatch.setenv("MY_TOKEN", "mine")
    told = environment_of(told_of({"number": 3}, VALUES, resumed=True), {"MORE": "m"})
    assert variable_of("training.größe-2") == "TUNECTL_PARAM_TRAINING_GR__E_2"
    assert told["TUNECTL_PARAM_TRAINING_RATE"] == "1e-05"
    assert (told["TUNECTL_PARAM_USE"], told["TUNECTL_PARAM_NONE"]) == ("true", "")
    assert (told["TUNECTL_NUMBER"], told["TUNECTL_RESUMED"]) == ("3", "1")
    assert (told["MY_TOKEN"], told["MORE"]) == ("mine", "m")
    assert "TUNECTL_PARAM_OLD" not in told


def test_what_is_searched_counts_as_a_value_and_a_mistyped_key_is_noticed() -> None:
    run = run_of("awk", "{print NR}", "{training.rate} {rat} {model.size} {nubmer}", rate=1.0)
    space = {"model.size": {"type": "int", "low": 1, "high": 4, "when": {"use": True}}}
    search = Search.model_validate({"params_to_tune": space})
    assert replaced(run, search) == ["model.size"]
    messages = [one.message for one in find_remarks(run, search)]
    assert [message.partition(" ")[0] for message in messages] == [
        "{training.rate}",
        "{model.size}",
        "{nubmer}",
    ]
    assert "did you mean {rate}?" in messages[0]
    assert "did you mean {number}?" in messages[2]


def test_two_keys_with_the_same_variable_are_noticed() -> None:
    run = run_of("true", a={"b_c": 1}, a_b={"c": 2})
    (remark,) = find_remarks(run, Search())
    assert (remark.key, "TUNECTL_PARAM_A_B_C" in remark.message) == ("a_b.c", True)


def test_a_program_is_looked_for_in_the_path_or_from_the_project_folder(tmp_path: Path) -> None:
    assert find_problems(run_of("sh"), tmp_path) == []
    assert find_problems(run_of("{trial_dir}/made-later"), tmp_path) == []
    script = tmp_path / "a.sh"
    script.write_bytes(b"#!/bin/sh\r\n")
    script.chmod(0o755)
    said = {
        name: find_problems(run_of(name), tmp_path)[0].message
        for name in ("nothing-such", "./nothing", "a.sh", "./a.sh", "{project}/b.sh", ".//")
    }
    assert "no program nothing-such in the PATH" in said["nothing-such"]
    assert "relative path begins at the project folder" in said["./nothing"]
    assert "write ./a.sh" in said["a.sh"]
    assert "Windows" in said["./a.sh"]
    assert str(tmp_path) in said["{project}/b.sh"]
    assert "is no file" in said[".//"]


@pytest.mark.parametrize(
    ("document", "key", "value"),
    [
        ({"loss": 0.5, "epochs": 3, "name": "x"}, None, 0.5),
        ({"end": {"best": [1, {"loss": 0.25}]}}, "end.best.1.loss", 0.25),
        ({"val.loss": 2}, "val.loss", 2.0),
        (3.5, None, 3.5),
        ({"loss": "1e-3"}, None, 0.001),
    ],
)
def test_a_metric_is_read_from_json(
    tmp_path: Path, document: Any, key: str | None, value: float
) -> None:
    (tmp_path / "result.json").write_text(json.dumps(document))
    listener = Listener(source(key=key), ["loss"])
    assert listener.metrics(tmp_path)["loss"] == value


def test_other_numbers_beside_it_are_kept_and_several_metrics_have_their_names(
    tmp_path: Path,
) -> None:
    text = '{"end": {"loss": 1, "size": 20, "on": true, "epochs": 3, "odd": NaN, "big": 1%s}}'
    (tmp_path / "result.json").write_text(text % ("0" * 400))
    assert Listener(source(key="end.loss"), ["loss"]).metrics(tmp_path) == {"loss": 1, "size": 20}
    both = Listener(source(key="end"), ["size", "loss"]).metrics(tmp_path)
    assert both == {"loss": 1, "size": 20}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (None, ObjectiveError, "it left no result.json"),
        ("{", ObjectiveError, "is no JSON"),
        ('{"val": 1}', ObjectiveError, "has no loss; there is: val"),
        ('{"loss": "much"}', ObjectiveError, "'much', which is no number"),
        ('{"loss": true}', ObjectiveError, "no number"),
        ('{"loss": NaN}', DivergedError, "loss is nan"),
        ("[1]", ObjectiveError, "it holds a list"),
    ],
)
def test_a_file_without_a_metric_is_an_error_that_says_why(
    tmp_path: Path, text: str | None, error: type[Exception], message: str
) -> None:
    if text is not None:
        (tmp_path / "result.json").write_text(text)
    with pytest.raises(error, match=message):
        Listener(source(), ["loss"]).metrics(tmp_path)


@pytest.mark.parametrize(
    ("values", "lines", "value"),
    [
        ({"from": "output"}, ["loss=3", "step 2: loss = 1.5, acc 0.9.", "val_loss=7"], 1.5),
        ({"from": "output"}, ['{"loss": -2e-3}'], -0.002),
        ({"from": "output"}, ["tunectl:report step=3 loss=0.12 more=1"], 0.12),
        ({"from": "output", "pattern": r"after (\d+) rounds"}, ["after 12 rounds"], 12.0),
        ({"from": "output", "pattern": "final {metric}"}, ["final loss 4"], None),
        ({"from": "exit"}, ["loss=3", "0.75"], 0.75),
        ({"from": "exit"}, ["done in 3 s: loss 0.5"], 0.5),
        ({"from": "exit"}, ["it took 3 s"], 3.0),
        ({"from": "exit"}, ["3 of 4"], None),
        ({"from": "exit"}, [], None),
    ],
)
def test_a_metric_is_heard_in_the_output(
    tmp_path: Path, values: dict[str, Any], lines: list[str], value: float | None
) -> None:
    listener = Listener(source(**values), ["loss"])
    for line in lines:
        listener.hear(line, is_error=False)
    listener.hear("a warning of 1 thing", is_error=True)
    if value is None:
        with pytest.raises(ObjectiveError):
            listener.metrics(tmp_path)
    else:
        assert listener.metrics(tmp_path) == {"loss": value}


def test_several_metrics_are_heard_each_by_its_name(tmp_path: Path) -> None:
    listener = Listener(source(**{"from": "output", "pattern": r"{metric} is (\S+)"}), ["a", "b.c"])
    listener.hear("a is 1, b.c is 2", is_error=True)
    listener.hear("a is 3", is_error=False)
    assert listener.metrics(tmp_path) == {"a": 3.0, "b.c": 2.0}


def test_a_report_names_a_step_and_its_values() -> None:
    two = parse_report("tunectl:report step=3 val=0.12 loss=1", "loss", 2)
    assert two == Report(step=3, metrics={"val": 0.12, "loss": 1.0})
    for line in ("tunectl:report step=0 val=2", "  tunectl:report step=0 2  "):
        assert parse_report(line, "loss") == Report(step=0, metrics={"loss": 2.0})
    assert parse_report("tunectl:reports step=1", "loss") is None
    assert parse_report("said tunectl:report step=1 loss=2", "loss") is None


@pytest.mark.parametrize(
    "rest",
    ["", "loss=1", "step=x loss=1", "step=-1 loss=1", "step=1.5 loss=1", "step=2 loss=much",
     "step=2", "step=2 a=1 b=2", "step=1 loss=1"],
)  # fmt: skip
def test_a_line_that_begins_like_a_report_and_is_none_is_refused(rest: str) -> None:
    with pytest.raises(MalformedReport):
        parse_report(f"tunectl:report {rest}", "loss", 1)


def test_lines_are_cut_at_a_length_and_drawn_over_as_on_a_terminal() -> None:
    lines = Lines()
    heard = [*lines.feed(b"one\r\ntw"), *lines.feed(b"o\n\n10%\r"), *lines.feed(b"20%\r")]
    heard += [*lines.feed(b"30%\n\xff\xc3"), *lines.feed(b"\xa4\n")]
    assert heard == ["one", "two", "30%", "\\xffä"]
    for _ in range(100):
        assert lines.feed(b"x" * 1000) == []
    (long,) = lines.feed(b"\rshort\n" + b"y" * 2 * LONGEST + b"\n")[1:]
    assert long == "y" * LONGEST + " …"
    assert lines.feed(b"rest") == []
    assert lines.finish() == ["rest"]


def test_reports_outlive_an_interruption_and_what_a_step_reported_first_stays(
    tmp_path: Path,
) -> None:
    file = tmp_path / "reports.jsonl"
    first = Reports(file, "loss", maximize=False)
    first.add(Report(step=2, metrics={"loss": 1.0, "more": float("nan")}))
    first.add(Report(step=4, metrics={"loss": 0.5}))
    with file.open("a") as torn:
        torn.write('{"step": 6, "lo')
    again = Reports(file, "loss", maximize=False)
    again.recall()
    again.add(Report(step=2, metrics={"loss": 9.0}))
    again.add(Report(step=8, metrics={"loss": 0.5}))
    assert again.steps == [2, 4, 8]
    assert again.histories == {"loss": [1.0, 0.5, 0.5], "more": [None, None, None]}
    assert (again.best_step, again.best) == (4, {"loss": 0.5})


def test_a_program_is_looked_for_in_the_path_that_it_gets(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "fit-it").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "fit-it").chmod(0o755)

    def problems(env: dict[str, str]) -> list[str]:
        objective = {"command": ["fit-it"], "metric": {"from": "exit"}, "env": env}
        run = CommandRun.model_validate({"objective": objective})
        return [problem.message for problem in find_problems(run, tmp_path)]

    assert problems({"PATH": "{project}/bin:/bin"}) == []
    assert problems({"PATH": "bin"}) == []
    assert problems({"PATH": "{trial_dir}"}) == []
    assert problems({}) == ["there is no program fit-it in the PATH"]
