from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunectl.config.image_run import Augmentation, ImageRun
from tunectl.config.load import (
    Files,
    Loaded,
    load,
    load_surroundings,
    read_study_name,
)
from tunectl.config.run import CommandRun
from tunectl.config.schema import Paths, Storage, Surroundings
from tunectl.config.signal_run import TrainingRun
from tunectl.config.templates import render
from tunectl.errors import ConfigError, Problem

NAMES = ("config.yaml", "params.yaml", "optuna_params.yaml")


def _project(folder: Path, **texts: str) -> Path:
    for name in NAMES:
        text = texts.get(name.removesuffix(".yaml"), "")
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def _load(folder: Path, *overrides: str, **texts: str) -> Loaded:
    return load(_project(folder, **texts), overrides=overrides)


def _problems(folder: Path, *overrides: str, **texts: str) -> Sequence[Problem]:
    with pytest.raises(ConfigError) as caught:
        _load(folder, *overrides, **texts)
    return caught.value.problems


# -- merging -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["train:run", "script"])
def test_a_later_objective_replaces_one_of_another_kind_whole(tmp_path: Path, kind: str) -> None:
    command = "objective={command: [./x], metric: {from: exit}}"
    loaded = _load(tmp_path, command, params=f"objective: {kind}\nrate: 0.5\n")
    assert list(loaded.settings.run.as_kind(CommandRun).objective.command) == ["./x"]
    written = "objective: {command: [./x]}\nrate: 0.5\n"
    other = _load(tmp_path, f"objective={kind}", params=written)
    assert other.settings.run.objective_name == kind


def test_later_sources_go_before_earlier_ones_and_each_is_remembered(tmp_path: Path) -> None:
    loaded = _load(
        tmp_path,
        "training.epochs=4",
        params="training:\n  epochs: 3\n  seed: 3\n",
        optuna_params="base_params:\n  training.epochs: 2\n  training:\n    batch_size: 2\n"
        "  training.seed: 2\n",
    )

    training = loaded.settings.run.as_kind(TrainingRun).training
    assert (training.epochs, training.seed, training.batch_size) == (4, 3, 2)
    assert training.learning_rate == 1e-3
    origins = {
        name: str(loaded.origins[f"training.{name}"]) for name in type(training).model_fields
    }
    assert origins["epochs"] == "command line: training.epochs=4"
    assert origins["seed"] == "params.yaml:3"
    assert origins["batch_size"] == "optuna_params.yaml:4"
    assert origins["learning_rate"] == "default"


def test_a_heading_with_nothing_under_it_means_the_defaults(tmp_path: Path) -> None:
    loaded = _load(
        tmp_path,
        config="paths:\n",
        params="training:\nmodel:\n  hidden: 8\n",
        optuna_params="study:\n  pruner:\nparams_to_tune:\nbase_params:\n",
    )

    assert loaded.settings.run.as_kind(TrainingRun).training.epochs == 100
    assert loaded.settings.run.as_kind(TrainingRun).model.hidden == 8
    assert loaded.settings.search.params_to_tune == {}


IMAGES = "objective: image_classifier\naugmentation:\n  file: auguments.yaml\n"


def test_an_augmentation_file_becomes_part_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "auguments.yaml").write_text("shift: 0.1\nrotation: 5.0\nzoom: 0.3\n")
    loaded = _load(
        tmp_path,
        "augmentation.zoom=0.2",
        params=f"{IMAGES}  shift: 0.4\n",
        optuna_params="study: {direction: maximize, metric: val_acc}\n"
        "params_to_tune:\n  augmentation.noise: {low: 0.0, high: 0.2}\n",
    )

    how = loaded.settings.run.as_kind(ImageRun).augmentation
    assert how == Augmentation(shift=0.4, rotation=5.0, zoom=0.2)  # file: null
    assert str(loaded.origins["augmentation.rotation"]) == "auguments.yaml:2"
    assert "augmentation.noise" in loaded.settings.search.params_to_tune


@pytest.mark.parametrize(
    ("text", "file", "line", "key", "words"),
    [
        (None, "params.yaml", 3, "augmentation.file", "auguments.yaml: there is no such file"),
        ("shift: [\n", "auguments.yaml", 1, None, "not valid YAML"),
        ("zoom: 0.1\nshift: 3\n", "auguments.yaml", 2, "shift", "must be at most 0.5"),
        ("\nrotate: 5\n", "auguments.yaml", 2, "rotate", "did you mean 'rotation'"),
        ("file: more.yaml\n", "auguments.yaml", 1, "file", "names no other file"),
    ],
)
def test_what_is_wrong_with_an_augmentation_file_is_named_with_its_line(
    text: str | None, file: str, line: int, key: str | None, words: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "auguments.yaml").write_text(text)
    (problem,) = _problems(tmp_path, params=IMAGES)

    assert (problem.file, problem.line, problem.key) == (file, line, key)
    assert words in problem.message


def test_interpolation_reaches_across_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHO", "me")
    loaded = _load(
        tmp_path,
        "training.batch_size='${training.epochs}'",
        config="paths:\n  outputs_root: ${paths.optuna_dir}/out\n",
        params="training:\n  epochs: ${study.n_trials}\n  seed: ${.epochs}\n"
        "  run_name: ${oc.env:WHO}-\\${x}\n",
        optuna_params="study: {n_trials: 7}\nparams_to_tune:\n"
        "  model.hidden: {type: int, low: '${study.n_trials}', high: 9}\n",
    )

    assert loaded.settings.surroundings.paths.outputs_root == "optuna/out"
    training = loaded.settings.run.as_kind(TrainingRun).training
    assert (training.epochs, training.seed, training.batch_size) == (7, 7, 7)
    assert training.run_name == "me-${x}"
    assert loaded.settings.search.params_to_tune["model.hidden"].low == 7  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("${nowhere.at_all}", "'nowhere.at_all', which does not exist"),
        ("${training.epochs}", "circle"),
        ("${oc.env:SURELY_NOT_SET_ANYWHERE}", "SURELY_NOT_SET_ANYWHERE is not set"),
        ("${shell:ls}", "resolver 'shell', which does not exist"),
        ("'${'", "cannot be read"),
        ("'???'", "still to be filled in"),
    ],
)
def test_an_interpolation_that_fails_is_a_problem_with_its_line(
    tmp_path: Path, value: str, words: str
) -> None:
    problems = _problems(tmp_path, params=f"training:\n  seed: 1\n  epochs: {value}\n")

    assert [(p.file, p.line, p.key) for p in problems] == [("params.yaml", 3, "training.epochs")]
    assert words in problems[0].message


def test_config_yaml_cannot_refer_to_the_other_files(tmp_path: Path) -> None:
    (problem,) = _problems(tmp_path, config="paths: {optuna_dir: '${study.name}'}\n")

    assert "does not exist in this file" in problem.message


def test_interpolations_cannot_ask_for_endless_work(tmp_path: Path) -> None:
    doubling = "".join(f"      k{i}: ${{.k{i + 1}}}${{.k{i + 1}}}\n" for i in range(60))
    problems = _problems(
        tmp_path, optuna_params=f"study:\n  sampler:\n    kwargs:\n{doubling}      k60: abc\n"
    )

    assert all("too large" in problem.message for problem in problems)


@pytest.mark.parametrize(
    ("texts", "overrides", "kwargs"),
    [
        ({}, [], {"n_startup_trials": 5, "n_warmup_steps": 10}),
        ({"optuna_params": "study: {pruner: {name: NopPruner}}"}, [], {}),
        ({"optuna_params": "study: {pruner: {kwargs: {a: 1}}}"}, [], {"a": 1}),
        ({"optuna_params": render()["optuna_params.yaml"]}, ["x=NopPruner"], {}),
        ({}, ["x=NopPruner", "+study.pruner.kwargs.a=2"], {"a": 2}),
        (
            {},
            ["study.pruner.kwargs.n_warmup_steps=3"],
            {"n_startup_trials": 5, "n_warmup_steps": 3},
        ),
        ({"optuna_params": "study: {pruner: {kwargs: {a: 1}}}"}, ["+study.pruner.kwargs.b=2"],
         {"a": 1, "b": 2}),
    ],
)  # fmt: skip
def test_arguments_belong_to_the_class_that_they_were_written_for(
    tmp_path: Path, texts: dict[str, str], overrides: list[str], kwargs: dict[str, int]
) -> None:
    full = [text.replace("x=", "study.pruner.name=", 1) for text in overrides]

    loaded = _load(tmp_path, *full, **texts)

    assert loaded.settings.search.study.pruner.kwargs == kwargs


def test_a_later_value_may_be_of_another_kind(tmp_path: Path) -> None:
    text = "study: {sampler: {kwargs: {a: {x: 1}, b: [1], c: '${nowhere}'}}}"
    overrides = ("a=[1]", "b={x: 1}", "c={x: 1}")

    loaded = _load(
        tmp_path, *(f"study.sampler.kwargs.{text}" for text in overrides), optuna_params=text
    )

    assert loaded.settings.search.study.sampler.kwargs == {"a": [1], "b": {"x": 1}, "c": {"x": 1}}


# -- what is wrong -------------------------------------------------------------------------------


def test_everything_wrong_in_all_files_and_overrides_is_reported_at_once(tmp_path: Path) -> None:
    problems = _problems(
        tmp_path,
        "training.epohs=5",
        config="path: {}\n",
        params="model:\n  hidden: x\ntraining:\n\n  epochs: 0\n",
        optuna_params="study:\n  name: a/b\nparams_to_tune:\n  model.hiden: {type: int}\n",
    )

    assert [(p.file, p.line, p.key) for p in problems] == [
        ("config.yaml", 1, "path"),
        ("params.yaml", 2, "model.hidden"),
        ("params.yaml", 5, "training.epochs"),
        ("optuna_params.yaml", 2, "study.name"),
        ("optuna_params.yaml", 4, "params_to_tune.model.hiden"),
        (None, None, "training.epohs"),
    ]


def test_missing_files_say_who_writes_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, files=Files(params=Path("mine.yaml")))

    messages = {problem.file: problem.message for problem in caught.value.problems}
    assert (
        messages["config.yaml"]
        == "there is no such file; `tunectl init` writes it, and an empty one will do"
    )
    assert messages["mine.yaml"] == "there is no such file"
    assert set(messages) == {"config.yaml", "mine.yaml", "optuna_params.yaml"}


def test_a_flaw_in_the_yaml_of_one_file_does_not_hide_the_others(tmp_path: Path) -> None:
    problems = _problems(
        tmp_path, config="a:\n\tb: 1\n", params="training: {epochs: 1, epochs: 2, sed: 1}\n"
    )

    assert [problem.file for problem in problems] == ["config.yaml", "params.yaml", "params.yaml"]
    assert "tab" in problems[0].message
    assert "duplicate key 'epochs'" in problems[1].message
    assert "did you mean 'seed'" in problems[2].message


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("training:\n  epohs: 3", "training.epohs", "did you mean 'epochs'? valid here: epochs, "),
        ("training:\n  hidden: 3", "training.hidden", "did you mean 'model.hidden'?"),
        ("a: 1\n\nmodle:\n  hidden: 3", "modle", "did you mean 'model'?"),
        ("training.epochs: 3", "training.epochs", "nest it"),
        ("study:\n  name: x", "study", "belongs into optuna_params.yaml"),
        ("base_params: {}", "base_params", "belongs into optuna_params.yaml"),
        ("training: 5", "training", "expected a section with keys of epochs"),
        ("training: [1]", "training", "not a list"),
        ('"\\e[31m": 5', "'\\x1b[31m'", "unknown key"),
    ],
)
def test_an_unknown_key_is_told_the_nearest_and_the_valid_ones(
    tmp_path: Path, text: str, key: str, words: str
) -> None:
    problems = _problems(tmp_path, params=text + "\n")

    (problem,) = [problem for problem in problems if problem.key == key]
    assert problem.file == "params.yaml"
    assert problem.line == text[: text.find(key.rpartition(".")[2])].count("\n") + 1
    assert words in problem.message


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("training.epochs", "'5'", "expected a whole number, not the text '5'"),
        ("training.epochs", "5.0", "expected a whole number, not the number 5.0"),
        ("training.epochs", "true", "expected a whole number, not true"),
        ("training.epochs", "", "expected a whole number, not nothing (null)"),
        ("training.epochs", "0", "must be at least 1, not 0"),
        ("training.learning_rate", "0", "must be greater than 0, not 0"),
        ("training.learning_rate", ".inf", "must be a finite number"),
        ("training.learning_rate", "[1]", "expected a number, not a list"),
        ("training.optimizer", "adan", "must be adam, adamw or sgd, not the text 'adan'"),
        ("training.run_name", "5", "expected text or null"),
        ("model.dropout_rate", "1", "must be less than 1, not 1"),
        ("model.use_residual", "yes", "expected true or false, not the text 'yes'"),
        ("dataset.target_names", "[]", "must not be empty"),
        ("dataset.target_names", "[a, a]", "distinct"),
        ("dataset.drop_channels", "3", "expected a list"),
        ("data_split.train", "0.9", "train + valid + test must be 1, not 1.2"),
        ("dataset.source", "npy", "needs both x_path and t_path"),
    ],
)
def test_a_wrong_value_is_said_in_a_plain_sentence(
    tmp_path: Path, key: str, value: str, words: str
) -> None:
    section, _, name = key.partition(".")
    (problem,) = _problems(tmp_path, params=f"{section}:\n  {name}: {value}\n")

    assert words in problem.message
    assert problem.line in (1, 2)
    assert "pydantic" not in problem.message
    assert "Input" not in problem.message


def test_a_wrong_item_of_a_list_has_its_own_line(tmp_path: Path) -> None:
    (problem,) = _problems(tmp_path, params="dataset:\n  drop_channels:\n    - 1\n    - -1\n")

    assert (problem.key, problem.line) == ("dataset.drop_channels.1", 4)


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".", "a b", "\N{GRINNING FACE}", "x" * 300, "", "-x", "a\n", "é"]
)
def test_a_studys_name_must_be_fit_for_a_folder(tmp_path: Path, name: str) -> None:
    escaped = name.encode("unicode_escape").decode()
    (problem,) = _problems(tmp_path, optuna_params=f'study:\n  name: "{escaped}"\n')

    assert (problem.line, problem.key) == (2, "study.name")
    assert "cannot be a study's name" in problem.message


def test_a_problem_found_later_is_placed_where_its_key_was_written(tmp_path: Path) -> None:
    loaded = _load(tmp_path, "model.hidden=8", params="training:\n  epochs: 3\n")

    placed = loaded.place(Problem(message="is bad", key="training.epochs"))
    assert (placed.file, placed.line) == ("params.yaml", 2)
    assert "model.hidden=8" in loaded.place(Problem(message="bad", key="model.hidden")).message
    untouched = Problem(message="bad", key="training.seed")
    assert loaded.place(untouched) == untouched


# -- overrides -----------------------------------------------------------------------------------


def test_every_section_can_be_overridden(tmp_path: Path) -> None:
    loaded = _load(
        tmp_path,
        "paths.outputs_root=elsewhere",
        "plugins.allow=[mine]",
        "objective=flow_cnn",
        "training={epochs: 3, seed: 4}",
        "study.n_trials=7",
        "base_params.model.hidden=16",
        "dataset.drop_channels=[0]",
    )

    settings = loaded.settings
    assert settings.surroundings.paths.outputs_root == "elsewhere"
    assert settings.surroundings.plugins.allow == ("mine",)
    assert settings.run.objective_name == "flow_cnn"
    assert (settings.run.epochs, settings.run.seed) == (3, 4)
    assert settings.search.study.n_trials == 7
    assert settings.run.as_kind(TrainingRun).model.hidden == 16
    assert settings.run.as_kind(TrainingRun).dataset.drop_channels == (0,)


@pytest.mark.parametrize("override", ["~training.epochs", "~training", "training=null"])
def test_deleting_goes_back_to_the_default(tmp_path: Path, override: str) -> None:
    loaded = _load(
        tmp_path,
        override,
        params="training: {epochs: 3}\n",
        optuna_params="base_params: {training.epochs: 4}\n",
    )

    assert loaded.settings.run.as_kind(TrainingRun).training.epochs == 100
    assert str(loaded.origins["training.epochs"]) == "default"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("epochs=5", "did you mean 'training.epochs'?"),
        ("training.epohs=5", "did you mean 'epochs'? valid here: epochs,"),
        ("~training.epohs", "did you mean 'epochs'?"),
        ("training.epohs=choice(1,2)", "did you mean 'epochs'?"),
        ("base_params.model.hiden=5", "did you mean 'hidden'?"),
        ("params_to_tune.model.hiden.low=5", "did you mean 'model.hidden'?"),
        ("params_to_tune.model.hidden.lo=5", "did you mean 'low'?"),
        ("~params_to_tune.model.hidden", "unknown key"),
        ("study.seed=choice(1,2)", "cannot be searched"),
        ("training.epochs=x", "expected a whole number, not the text 'x'"),
        ("training.epochs.low=5", "expected a whole number, not a mapping"),
        ("dataset.drop_channels=[-1]", "must be at least 0"),
        ("data_split.train=0.9", "must be 1, not 1.2"),
        ("training=5", "expected a section"),
        ("study.sampler.kwargs=[1]", "expected a mapping, not a list"),
        (f"study.sampler.kwargs.n={10**30}", "too large"),
    ],
)
def test_a_wrong_override_is_shown(tmp_path: Path, override: str, words: str) -> None:
    (problem,) = _problems(
        tmp_path,
        override,
        params="dataset:\n  drop_channels: [1, 3]\ndata_split: {train: 0.7}\n",
    )

    assert words in problem.message
    assert problem.message.endswith(f"(in the override '{override}')")
    assert problem.file is None


# -- the parts that stand alone ------------------------------------------------------------------


def test_surroundings_need_no_other_file(tmp_path: Path) -> None:
    assert load_surroundings(tmp_path) == Surroundings()
    (tmp_path / "config.yaml").write_text("paths:\n  optuna_dir: db\n", encoding="utf-8")
    assert load_surroundings(tmp_path).paths.optuna_dir == "db"


def test_surroundings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_surroundings(tmp_path, config=Path("mine.yaml"), explicit=True)
    (tmp_path / "config.yaml").write_text("paths: {a: 1, a: 2}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_surroundings(tmp_path)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "flow_cnn"),
        ("study: {n_trials: 5}\n", "flow_cnn"),
        ("study:\n", "flow_cnn"),
        ("study: {name: mine, n_trials: 0}\nnonsense: 1\n", "mine"),
    ],
)
def test_the_studys_name_is_read_alone(tmp_path: Path, text: str, name: str) -> None:
    assert read_study_name(tmp_path) is None
    (tmp_path / "optuna_params.yaml").write_text(text, encoding="utf-8")
    assert read_study_name(tmp_path) == name


def test_a_studys_name_may_be_interpolated(tmp_path: Path) -> None:
    _project(tmp_path, optuna_params="study: {name: 'cnn_${model.hidden}'}\n")

    assert read_study_name(tmp_path) == "cnn_64"


@pytest.mark.parametrize(
    "text", ["study: {name: a/b}\n", "study: {name: 5}\n", "study: 5\n", "a:\n\tb"]
)
def test_a_broken_studys_name_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "optuna_params.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match=r"optuna_params\.yaml:[12]:"):
        read_study_name(tmp_path)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, "sqlite:///{}/db/study.db"),
        ("sqlite:///x/y.db", "sqlite:///{}/x/y.db"),
        ("sqlite+pysqlite:///y.db?timeout=5", "sqlite+pysqlite:///{}/y.db?timeout=5"),
        ("sqlite:////var/y.db", "sqlite:////var/y.db"),
        ("sqlite://", "sqlite://"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://u:p@h/db", "postgresql://u:p@h/db"),
    ],
)
def test_the_storages_url_is_absolute(tmp_path: Path, url: str | None, expected: str) -> None:
    surroundings = Surroundings(paths=Paths(optuna_dir="db"), storage=Storage(url=url))

    assert surroundings.database_url(tmp_path) == expected.format(tmp_path.resolve())


def test_a_path_that_no_url_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot hold"):
        Surroundings().database_url(tmp_path / "why?")


# -- whatever a file holds -----------------------------------------------------------------------


def _mutated(text: str, cuts: list[tuple[int, int, bytes]]) -> bytes:
    content = text.encode()
    for start, length, inserted in cuts:
        place = start % (len(content) + 1)
        content = content[:place] + inserted + content[place + length :]
    return content


_PIECES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b"\t", b"\n", b": ", b"{", b"[", b"&a ", b"*a", b"${", b"}", b"null", b"1e999", b"- ",
         b"'", b"???", b"<<: ", b"!!int ", b"${training.seed}", b"training:", b"-1", b"when: {",
         b"\xf0\x9f"]
    ),
)  # fmt: skip
_CUTS = st.lists(
    st.tuples(st.integers(0, 4000), st.integers(0, 40), _PIECES), min_size=1, max_size=5
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(NAMES), st.one_of(st.binary(max_size=60), _CUTS))
def test_no_content_of_a_file_makes_the_program_fall_over(
    tmp_path: Path, name: str, content: bytes | list[tuple[int, int, bytes]]
) -> None:
    mutated = content if isinstance(content, bytes) else _mutated(render()[name], content)
    (_project(tmp_path) / name).write_bytes(mutated)

    try:
        loaded = load(tmp_path)
    except ConfigError as error:
        assert all(problem.file == name for problem in error.problems if problem.file)
    else:
        assert loaded.settings.run.as_kind(TrainingRun).training.epochs >= 1


@pytest.mark.parametrize("written", ["0", "-1", "true", "many", "1.5", "[]"])
def test_what_is_no_number_of_workers_is_refused_in_one_sentence(
    tmp_path: Path, written: str
) -> None:
    (problem,) = _problems(tmp_path, config=f"runtime: {{workers: {written}}}\n")

    assert problem.key == "runtime.workers"
    assert "valid: 1 or more, or auto" in problem.message


@pytest.mark.parametrize("written", [1, 7, "auto"])
def test_workers_are_a_number_or_auto(tmp_path: Path, written: int | str) -> None:
    runtime = _load(tmp_path, config=f"runtime: {{workers: {written}}}\n").settings.surroundings

    assert runtime.runtime.workers == written


@pytest.mark.parametrize(
    ("text", "overrides"),
    [("objectiv: mlp\nmodel: {nodes: 8}\n", ()), ("model: {nodes: 8}\n", ("objectiv=mlp",))],
)
def test_a_misspelt_objective_hides_what_only_follows_from_it(
    tmp_path: Path, text: str, overrides: tuple[str, ...]
) -> None:
    (problem,) = _problems(tmp_path, *overrides, params=text)
    assert (problem.key, problem.kind) == ("objectiv", "unknown_key")
    assert "did you mean 'objective'?" in problem.message
