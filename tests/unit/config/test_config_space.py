from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunectl.config.load import Loaded, load
from tunectl.config.search_schema import Choice, FloatRange, IntRange
from tunectl.config.signal_run import TrainingRun
from tunectl.config.templates import SEED_SPACE, render
from tunectl.errors import ConfigError, Problem


def _load(folder: Path, space: str, *overrides: str, params: str = "") -> Loaded:
    (folder / "config.yaml").write_text("", encoding="utf-8")
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    (folder / "optuna_params.yaml").write_text(space, encoding="utf-8")
    return load(folder, overrides=overrides)


def _space(folder: Path, space: str, *overrides: str, params: str = "") -> dict[str, Any]:
    return _load(folder, space, *overrides, params=params).settings.search.params_to_tune


def _problem(folder: Path, spec: str, key: str = "model.hidden") -> Problem:
    with pytest.raises(ConfigError) as caught:
        _load(folder, f"params_to_tune:\n  {key}: {spec}\n")
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == ("optuna_params.yaml", 2)
    return problem


@pytest.mark.parametrize(
    "text",
    [
        "model.hidden: {type: int, low: 4, high: 8}\n  model.type: {choices: [cnn1d, cnn2d]}",
        "model.hidden: {min: 4, max: 8}\n  model: {type: {choices: [cnn1d, cnn2d]}}",
        "model:\n    type: {type: categorical, choices: [cnn1d, cnn2d]}\n"
        "    hidden: {type: int, min: 4, high: 8}",
        "model: {hidden: {low: 4, high: 8}}\n  model.type: {choices: [cnn1d, cnn2d]}",
    ],
)
def test_the_space_may_be_nested_or_dotted_and_say_min_and_max(tmp_path: Path, text: str) -> None:
    space = _space(tmp_path, f"params_to_tune:\n  {text}\n")

    assert space == {
        "model.hidden": IntRange(low=4, high=8),
        "model.type": Choice(choices=("cnn1d", "cnn2d")),
    }


@pytest.mark.parametrize(
    ("key", "spec", "words"),
    [
        ("model.hidden", "{type: int, low: 9, high: 3}", "low (9) is greater than high (3)"),
        ("model.hidden", "{type: int, low: 9}", "high: is missing"),
        ("model.hidden", "{type: int, low: 9, high: 64, step: 0}", "at least 1, not 0"),
        ("model.hidden", "{type: int, low: 4, high: 64, step: 2, log: true}", "log and step"),
        ("model.hidden", "{type: integer, low: 4, high: 64}", "int, float or categorical"),
        ("model.hidden", "{type: float, low: 4, high: 64}", "takes whole numbers"),
        ("model.hidden", "{type: categorical, choices: []}", "must not be empty"),
        ("model.hidden", "{type: categorical, choices: [4, 4]}", "distinct"),
        ("model.hidden", "{type: categorical, choices: 4}", "expected a list"),
        ("model.hidden", "{type: categorical, choices: [4, [8]]}", "or text, not a list"),
        ("model.hidden", "{type: categorical, choices: [4, x]}", "whole number, not the text 'x'"),
        ("model.hidden", "{type: int, low: 1, high: 9}", "low: must be at least 2, not 1"),
        ("model.hidden", "{type: int, low: 2, min: 2, high: 9}", "low and min mean the same"),
        ("model.hidden", "{type: int, low: 4, high: 9, hihg: 3}", "did you mean 'high'?"),
        ("model.hidden", "{type: int, low: 4, high: 9, choices: [1]}", "unknown key 'choices'"),
        ("model.hidden", "{}", "type must be"),
        ("model.hidden", "", "expected a parameter"),
        ("model.hidden", "5", "expected a parameter"),
        ("model.dropout_rate", "{type: float, low: 0, high: 1.5}", "high: must be less than 1"),
        (
            "training.learning_rate",
            "{type: float, low: 0, high: 1, log: true}",
            "log needs low > 0",
        ),
        ("training.learning_rate", "{type: float, low: 1, high: .inf}", "finite"),
        ("model.use_residual", "{type: int, low: 0, high: 1}", "takes true or false"),
        ("model.hiden", "{type: int, low: 4, high: 9}", "did you mean 'model.hidden'?"),
        ("hidden", "{type: int, low: 4, high: 9}", "did you mean 'model.hidden'?"),
        ("study.seed", "{type: int, low: 4, high: 9}", "unknown key"),
        ("data_split.train", "{type: float, low: 0.5, high: 0.7}", "must be 1, not 0.8"),
        ("model.hidden", "{type: int, low: '${x}', high: 9}", "'x', which does not exist"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_a_problem_with_its_line(
    tmp_path: Path, key: str, spec: str, words: str
) -> None:
    problem = _problem(tmp_path, spec, key)

    assert problem.key is not None
    assert problem.key.startswith(f"params_to_tune.{key}")
    assert words in str(problem)


def test_a_choice_of_many_lines_is_found_in_its_own(tmp_path: Path) -> None:
    text = "params_to_tune:\n  model.type:\n    choices:\n      - cnn1d\n      - cnn3d\n"
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, text)

    assert [problem.line for problem in caught.value.problems] == [5]


def test_a_parameter_given_twice_is_refused(tmp_path: Path) -> None:
    spec = "{type: int, low: 4, high: 8}"
    text = f"params_to_tune:\n  model.hidden: {spec}\n  model:\n    hidden: {spec}\n"
    with pytest.raises(ConfigError, match=r"4: .*first given at optuna_params.yaml:2"):
        _load(tmp_path, text)


@pytest.mark.parametrize(
    "text", ["params_to_tune: 5\n", "params_to_tune: [a]\n", "base_params: 5\n"]
)
def test_the_space_must_be_a_mapping(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"optuna_params\.yaml:1: .*expected a mapping"):
        _load(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "base_params:\n  model.hidden: 4\n  model: {hidden: 8}\n",
        "base_params:\n  model: {hidden: 8}\n  model.hidden: 4\n",
    ],
)
def test_a_base_value_given_twice_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"3: base_params\.model\.hidden: duplicate key"):
        _load(tmp_path, text)


def test_a_base_value_that_is_also_a_section_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"optuna_params\.yaml:[23]: base_params\.model"):
        _load(tmp_path, "base_params:\n  model: 4\n  model.hidden: 4\n")


# -- conditions ----------------------------------------------------------------------------------

PARENTS = """\
params_to_tune:
  model.use_residual: {choices: [true, false]}
  training.batch_size: {choices: [2, 4, 8]}
  training.epochs: {low: 10, high: 50, step: 10}
  training.learning_rate: {low: 1.0e-5, high: 1.0e-2, log: true}
  training.optimizer:
    choices: [adam, sgd]
    when: {training.batch_size: 2}
  model.hidden:
    low: 4
    high: 8
    when:
"""


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("model.use_residual: true", {"model.use_residual": True}),
        ("model: {use_residual: true}", {"model.use_residual": True}),
        ("training.batch_size: [2, 4]", {"training.batch_size": [2, 4]}),
        ("training.epochs: 30", {"training.epochs": 30}),
        (
            "{training.optimizer: adam, model.use_residual: false}",
            {"training.optimizer": "adam", "model.use_residual": False},
        ),
        ("{}", None),
    ],
)
def test_a_condition_may_name_other_parameters(
    tmp_path: Path, written: str, kept: dict[str, Any] | None
) -> None:
    assert _space(tmp_path, f"{PARENTS}      {written}\n")["model.hidden"].when == kept


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("training.weight_decay: 1", "which is not in params_to_tune"),
        ("training.epoch: 1", "did you mean training.epochs?"),
        ("model.use_residual: 1", "being the number 1, which it never is"),
        ("model.use_residual: maybe", "being the text 'maybe'"),
        ("training.batch_size: [2, 3]", "being the number 3"),
        ("training.batch_size: []", "one of nothing"),
        ("training.epochs: 60", "being the number 60"),
        ("training.epochs: 35", "being the number 35"),
        ("training.epochs: true", "being true"),
        ("training.learning_rate: 1.0e-3", "continuous"),
        ("model.hidden: 4", "circle"),
        ("5", "expected a mapping, not the number 5"),
    ],
)
def test_a_condition_that_cannot_be_met_is_a_problem(
    tmp_path: Path, written: str, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, f"{PARENTS}      {written}\n")

    (problem,) = caught.value.problems
    assert problem.key == "params_to_tune.model.hidden.when"
    assert problem.line == 12
    assert words in problem.message


def test_a_circle_of_several_is_found(tmp_path: Path) -> None:
    text = PARENTS.replace("{training.batch_size: 2}", "{model.hidden: 4}")
    with pytest.raises(ConfigError, match="circle"):
        _load(tmp_path, f"{text}      training.optimizer: adam\n")


# -- the space and the command line --------------------------------------------------------------

SEED = render()["optuna_params.yaml"]


def test_a_value_takes_a_parameter_out_of_the_space(tmp_path: Path) -> None:
    loaded = _load(tmp_path, SEED, "training.epochs=7")

    assert "training.epochs" not in loaded.settings.search.params_to_tune
    assert loaded.settings.run.as_kind(TrainingRun).training.epochs == 7
    assert "params_to_tune.training.epochs" not in loaded.origins


@pytest.mark.parametrize("key", ["training.epochs", "params_to_tune.training.epochs", "training"])
def test_deleting_takes_it_out_too(tmp_path: Path, key: str) -> None:
    assert "training.epochs" not in _space(tmp_path, SEED, f"~{key}")


def test_the_whole_space_can_be_deleted(tmp_path: Path) -> None:
    assert _space(tmp_path, SEED, "~params_to_tune") == {}


def test_a_sweep_puts_a_parameter_into_the_space(tmp_path: Path) -> None:
    loaded = _load(
        tmp_path,
        SEED,
        "training.learning_rate=tag(log,interval(1e-4,1e-3))",
        "model.hidden=7",
        "model.hidden=choice(4,8)",
        "training.optimizer=adam,sgd",
        "params_to_tune.training.batch_size=choice(1,2)",
    )

    space = loaded.settings.search.params_to_tune
    assert space["training.learning_rate"] == FloatRange(low=1e-4, high=1e-3, log=True)
    assert space["model.hidden"] == Choice(choices=(4, 8))
    assert space["training.optimizer"] == Choice(choices=("adam", "sgd"))
    assert space["training.batch_size"] == Choice(choices=(1, 2))
    assert loaded.origins["params_to_tune.model.hidden"].override == "model.hidden=choice(4,8)"


def test_a_part_of_a_parameter_can_be_changed(tmp_path: Path) -> None:
    space = _space(
        tmp_path,
        SEED,
        "params_to_tune.model.hidden.high=256",
        "params_to_tune.training.epochs={type: int, low: 1, high: 3}",
        "~params_to_tune.model.dropout_rate.step",
    )

    assert space["model.hidden"] == IntRange(low=32, high=256, step=16)
    assert space["training.epochs"] == IntRange(low=1, high=3)
    assert space["model.dropout_rate"].step is None


def test_a_sweep_of_a_conditional_parameter_keeps_its_condition(tmp_path: Path) -> None:
    spec = _space(tmp_path, SEED, "training.weight_target_0=interval(1,2)")[
        "training.weight_target_0"
    ]

    assert spec == FloatRange(low=1, high=2, when={"training.use_weighted_loss": True})


def test_fixing_a_parent_settles_the_conditions_on_it(tmp_path: Path) -> None:
    met = _space(tmp_path, SEED, "training.use_weighted_loss=true")
    unmet = _space(tmp_path, SEED, "training.use_weighted_loss=false")

    weights = [key for key in SEED_SPACE if "weight_target" in key]
    assert [met[key].when for key in weights] == [None] * 6
    assert [key for key in weights if key in unmet] == []


def test_a_parameter_that_depends_on_one_that_cannot_exist_leaves_too(tmp_path: Path) -> None:
    space = _space(tmp_path, f"{PARENTS}      training.optimizer: adam\n", "training.batch_size=8")

    assert set(space) == {"model.use_residual", "training.epochs", "training.learning_rate"}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.epochs=interval(1,4)", r"int\(interval\(low,high\)\)"),
        ("model.hidden=choice(1,2)", "choices.0: must be at least 2, not 1"),
        ("params_to_tune.foo=choice(1,2)", "valid here: dataset.…"),
        ("params_to_tune.model.hidden.low=500", r"low \(500\) is greater"),
        ("params_to_tune.model.hidden.low=choice(1,2)", "cannot be searched"),
    ],
)
def test_a_wrong_sweep_is_shown(tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        _load(tmp_path, SEED, override)

    (problem,) = caught.value.problems
    assert f"(in the override '{override}')" in problem.message


@pytest.mark.parametrize("nothing", ["", "{}"])
def test_an_empty_section_is_fine_but_not_a_mistyped_one(tmp_path: Path, nothing: str) -> None:
    assert _space(tmp_path, f"params_to_tune:\n  model: {nothing}\n") == {}

    assert "unknown key" in _problem(tmp_path, nothing, key="modle").message
