from __future__ import annotations

import datetime as dt
import json
import logging
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from told import Told

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.run import OpenRun
from tunectl.config.schema import TrialConfig
from tunectl.errors import ObjectiveError
from tunectl.objectives.base import Objective, Outcome, TrialInterrupted, TrialPruned
from tunectl.objectives.function import FunctionObjective

TYPED = """
from pydantic import BaseModel, Field
from tunectl.objectives import Trial

class Tree(BaseModel):
    depth: int = Field(3, le=9)

class Config(BaseModel):
    tree: Tree = Tree()

def run(trial: Trial[Config]) -> float:
    return trial.config.tree.depth / 10
"""


Make = Callable[..., Told]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return what makes a trial of a function whose module has the given text."""

    def make(code: str, *, sections: Mapping[str, Any] | None = None, **given: Any) -> Told:
        (tmp_path / "fit.py").write_text(textwrap.dedent(code), encoding="utf-8")
        config = TrialConfig.model_validate(
            {
                "objective": "fit:run",
                **(sections or {}),
                "study": {
                    "name": "s",
                    "metric": "loss",
                    "direction": "minimize",
                    "values": ["loss"],
                },
                "number": 7,
                "parameters": {"tree.depth": 4},
            }
        )
        directory = TrialDir.create(tmp_path / "outputs", dt.datetime(2026, 1, 31))
        return Told(config=config, project=tmp_path, directory=directory, **given)

    return make


def run(told: Told) -> Outcome:
    objective: Objective = FunctionObjective()
    return objective.run(told)


def metrics_json(told: Told) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(told.directory.metrics_file.read_text(encoding="utf-8"))
    return found


def test_a_number_is_the_trials_value(make: Make) -> None:
    outcome = run(make("def run(trial): return 0.25"))

    assert (outcome.value, outcome.best_epoch, outcome.epochs) == (0.25, None, 0)
    assert outcome.metrics == {"loss": 0.25}


def test_a_mapping_is_its_metrics(make: Make) -> None:
    outcome = run(make("def run(trial): return {'loss': 1, 'time': 2}"))

    assert (outcome.value, outcome.metrics) == (1.0, {"loss": 1.0, "time": 2.0})


def test_the_best_report_counts_where_nothing_is_returned(make: Make) -> None:
    told = make(
        """
        def run(trial):
            for step, loss in enumerate([3.0, 1.0, 2.0], start=1):
                trial.report(step, loss=loss, size=step)
        """
    )
    outcome = run(told)

    assert (outcome.value, outcome.best_epoch, outcome.epochs) == (1.0, 2, 3)
    assert outcome.metrics == {"loss": 1.0, "size": 2.0}
    assert metrics_json(told)["histories"] == {"loss": [3.0, 1.0, 2.0], "size": [1.0, 2.0, 3.0]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("pass", "returned nothing and reported nothing"),
        ("return {'other': 1}", "returned no loss; there is other"),
        ("return {'loss': 1, 'best_epoch': 99}", "best_epoch is no name for a metric"),
        ("trial.report(1, loss=1, epochs=7)", "epochs is no name for a metric"),
        ("return 'good'", "returned str 'good'"),
        ("return '0.5'", "returned str '0.5'"),
        ("trial.report(0, 1.0)", "a step is a whole number from 1 on, not 0"),
        ("trial.report(2, 1.0); trial.report(1, 1.0)", "step 1 was reported after step 2"),
        ("trial.report(1, 'low')", "a metric is no number"),
        ("trial.report(1, loss=1); trial.report(2, 1.0, b=2)", "every step reports the same"),
        ("raise KeyError('x')", r"KeyError: 'x' \(fit.py, line 2\)"),
        ("exit(3)", r"SystemExit: 3 \(fit.py, line 2\)"),
        ("trial.log_artifact('nothing.txt')", "there is no nothing.txt to keep"),
    ],
)
def test_what_goes_wrong_is_said_and_the_reports_are_kept(
    make: Make, body: str, words: str
) -> None:
    told = make(f"def run(trial):\n    {body}\n")
    with pytest.raises(ObjectiveError, match=words):
        run(told)
    assert "histories" in metrics_json(told)


def test_a_trial_is_pruned_when_the_function_asks_and_returns(make: Make) -> None:
    code = """
    def run(trial):
        for step in range(1, 10):
            trial.report(step, loss=1.0)
            if trial.should_prune():
                return
    """
    told = make(code, stop_at=3)
    with pytest.raises(TrialPruned):
        run(told)
    assert list(told.reported) == [1, 2, 3]


def test_a_function_that_never_asks_comes_to_its_end(make: Make) -> None:
    code = """
    def run(trial):
        for step in range(1, 4):
            trial.report(step, loss=1.0 / step)
    """
    assert run(make(code, stop_at=1)).epochs == 3


def test_being_told_to_stop_cannot_be_swallowed(make: Make) -> None:
    code = """
    def run(trial):
        for step in range(1, 100):
            try:
                trial.report(step, loss=1.0)
            except Exception:
                pass
        return 0.0
    """
    told = make(code, stop_at_check=5)
    with pytest.raises(TrialInterrupted):
        run(told)
    assert len(told.reported) < 5


def test_what_is_printed_ends_in_the_trials_log_and_nowhere_else(
    make: Make, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    code = """
    import sys
    def run(trial):
        print("one\\ntwo")
        print("10 %\\r20 %", file=sys.stderr, end="")
        return 0.0
    """
    with caplog.at_level(logging.INFO, "test.objective"):
        run(make(code))

    assert [record.message for record in caplog.records] == ["one", "two", "20 %"]
    assert capsys.readouterr() == ("", "")


def test_the_function_sees_its_trial(make: Make) -> None:
    code = """
    def run(trial):
        assert trial.number == 7 and trial.study == "s"
        assert trial.config == {"tree": {"depth": 4}, "seed": 5}
        assert dict(trial.parameters) == {"tree.depth": 4}
        assert trial.seed == 5 and trial.directory.is_dir()
        (trial.directory / "out.txt").write_text("x")
        assert trial.log_artifact(trial.directory / "out.txt").read_text() == "x"
        return 0.0
    """
    run(make(code, sections={"tree": {"depth": 4}, "seed": 5}))


def test_random_numbers_start_from_the_seed(make: Make) -> None:
    code = """
    import random
    import numpy as np
    def run(trial):
        return random.random() + np.random.random()
    """
    assert run(make(code)).value == run(make(code)).value


def test_a_model_types_the_configuration(make: Make) -> None:
    assert run(make(TYPED, sections={"tree": {"depth": 4}})).value == 0.4
    assert run(make(TYPED)).value == 0.3  # its own default


@pytest.mark.parametrize(
    ("sections", "key", "words"),
    [
        ({"tree": {"depht": 4}}, "tree.depht", "unknown key; valid here: depth"),
        ({"trees": {}}, "trees", "unknown key; valid here: tree"),
        ({"tree": {"depth": 10}}, "tree.depth", "at most 9"),
        ({"tree": {"depth": "deep"}}, "tree.depth", "expected"),
    ],
)
def test_what_the_model_does_not_take_is_told_before_a_trial(
    make: Make, sections: dict[str, Any], key: str, words: str
) -> None:
    told = make(TYPED)
    run = OpenRun.model_validate({"objective": "fit:run", **sections})

    (problem,) = FunctionObjective().problems(run, told.project)
    assert problem.key == key
    assert words in problem.message


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fit:walk", "fit.py has no walk; it has run"),
        ("fit:number", "number of fit.py is no function"),
        ("fit:two", "must take one argument"),
        ("nowhere:run", "there is no module nowhere"),
        ("fit:", "not of the form module:function"),
        ("broken:run", r"SyntaxError: .* \(broken.py, line 1\)"),
        ("lost:run", r"No module named 'no_such_package'.* \(lost.py, line 1\)"),
        ("json:loads", "a module of Python's own"),
        ("numpy:run", "an installed package that is in use"),
    ],
)
def test_a_function_that_cannot_be_had_is_told_with_its_reason(
    make: Make, name: str, words: str
) -> None:
    import re

    told = make("number = 3\ndef run(trial): return 0.0\ndef two(a, b): return 0.0\n")
    for file, text in {
        "broken": "def run(trial",
        "lost": "import no_such_package",
        "json": "",
        "numpy": "",
    }.items():
        (told.project / f"{file}.py").write_text(text, encoding="utf-8")
    run = OpenRun.model_validate({"objective": name})

    (problem,) = FunctionObjective().problems(run, told.project)
    assert problem.key == "objective"
    assert re.search(words, problem.message), problem.message


def test_a_folder_of_data_hides_no_installed_package(make: Make, tmp_path: Path) -> None:
    told = make("", sections={"objective": "yaml:safe_load"})
    (tmp_path / "yaml").mkdir()
    assert FunctionObjective().problems(told.config.run, tmp_path) == []

    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "fit.py").write_text("def run(trial): return 0.5")
    told = make("", sections={"objective": "parts.fit:run"})
    assert run(told).value == 0.5


def test_modules_of_one_name_in_two_projects_are_two(make: Make, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "fit.py").write_text("def run(trial): return 2.0", encoding="utf-8")
    told = make("def run(trial): return 1.0")
    elsewhere = Told(config=told.config, project=other, directory=told.directory)

    assert [run(told).value, run(elsewhere).value, run(told).value] == [1.0, 2.0, 1.0]


def test_a_checkpoint_brings_back_what_was_saved_and_reported(make: Make) -> None:
    code = """
    import numpy as np
    def run(trial):
        begun = trial.checkpoint.load()
        if begun is None:
            trial.report(1, loss=5.0)
            trial.checkpoint.save(weights=np.arange(3.0), names=["a"], step=1)
            trial.report(2, loss=4.0)
            raise RuntimeError("the lights go out")
        assert begun["weights"].tolist() == [0.0, 1.0, 2.0] and begun["names"] == ["a"]
        trial.report(begun["step"] + 1, loss=4.0)
    """
    told = make(code)
    with pytest.raises(ObjectiveError, match="lights"):
        run(told)
    outcome = run(told)

    assert told.settled == 1  # no checkpoint is ahead of the database
    assert (outcome.value, outcome.epochs) == (4.0, 2)
    assert metrics_json(told)["histories"] == {"loss": [5.0, 4.0]}


def test_a_checkpoint_of_what_cannot_be_read_safely_is_refused(make: Make) -> None:
    code = "def run(trial): trial.checkpoint.save(model={'net': object()})"
    with pytest.raises(ObjectiveError, match=r"cannot hold model.net, a object"):
        run(make(code))


def test_a_damaged_checkpoint_is_passed_over(make: Make) -> None:
    code = """
    def run(trial):
        begun = trial.checkpoint.load() or {"step": 0}
        if begun["step"] == 0:
            for step in (1, 2):
                trial.report(step, loss=1.0)
                trial.checkpoint.save(step=step)
            raise RuntimeError
        return float(begun["step"])
    """
    told = make(code)
    with pytest.raises(ObjectiveError):
        run(told)
    newest = max(told.directory.checkpoints_dir.iterdir())
    newest.write_bytes(newest.read_bytes()[:-7])

    assert run(told).value == 1.0


def test_arrays_of_any_shape_come_back_as_they_were(make: Make) -> None:
    from tunectl.objectives.keeping import from_storable, to_storable

    state = {"a": np.float32(2.5), "b": np.zeros((2, 0)), "c": (1, [None, b"x", "y", True])}
    back = from_storable(to_storable(state))
    assert back["a"] == 2.5
    assert back["b"].shape == (2, 0)
    assert back["c"] == [1, [None, b"x", "y", True]]


NOISY = """
    import logging
    import os
    import subprocess
    import sys

    print("imported")
    logging.getLogger("noisy").addHandler(logging.StreamHandler())

    def run(trial):
        print("by print")
        sys.stdout.buffer.write(b"as bytes\\n")
        os.write(1, b"to the descriptor\\n")
        subprocess.run(["echo", "by a program"])
        subprocess.run(["sh", "-c", "echo by another one >&2"], stdout=sys.stdout)
        logging.getLogger("noisy").warning("by a handler of its own")
        subprocess.run(["seq", "10001", "40000"])
        subprocess.run(["sh", "-c", "sleep 5 &"])
        return 0.5
"""


def test_whatever_is_printed_in_whatever_way_ends_in_the_trials_log(
    make: Make, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    told = make(NOISY)
    with caplog.at_level(logging.INFO, logger="test.objective"):
        run(told)
        run(told)

    assert capfd.readouterr() == ("", "")
    said = [record.getMessage() for record in caplog.records if record.name == "test.objective"]
    assert said.count("imported") == 1
    for line in ("by print", "as bytes", "to the descriptor", "by a program", "by another one"):
        assert said.count(line) == 2
    assert sum("by a handler of its own" in line for line in said) == 2
    assert said[-1] == "40000"


def test_a_check_leaves_standard_output_to_its_results(
    make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    told = make(NOISY)
    FunctionObjective().problems(told.config.run, told.project)

    out, err = capfd.readouterr()
    assert (out, "imported" in err) == ("", True)


NESTED = """
    from pydantic import BaseModel, Field
    from tunectl.objectives import Trial

    class Forest(BaseModel):
        depth: int = 3

    class Config(BaseModel):
        one: Forest | None = None
        several: list[Forest] = []
        by_name: dict[str, Forest] = {}
        rate: float = Field(0.1, alias="learning-rate")
        free: dict[str, object] = {}

    def run(trial: Trial[Config] | None) -> float:
        return 0.5
"""


@pytest.mark.parametrize(
    ("sections", "keys"),
    [
        ({"one": {"deep": 1}}, ["one.deep"]),
        ({"several": [{"depth": 1}, {"deep": 1}]}, ["several.1.deep"]),
        ({"by_name": {"a": {"deep": 1}}}, ["by_name.a.deep"]),
        ({"rate": 0.5}, ["rate"]),
        ({"learning-rate": 0.5, "free": {"deep": {"er": 1}}, "one": {"depth": 1}}, []),
        ({"one": None}, []),
    ],
)
def test_a_mistyped_key_is_found_wherever_a_model_stands(
    make: Make, sections: dict[str, Any], keys: list[str]
) -> None:
    told = make(NESTED, sections=sections)
    problems = FunctionObjective().problems(told.config.run, told.project)

    assert [problem.key for problem in problems] == keys
