from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tunectl.config.signal_run import TrainingRun
from tunectl.errors import Problem
from tunectl.training.data_checks import find_problems


def _run(**sections: dict[str, object]) -> TrainingRun:
    base: dict[str, dict[str, object]] = {
        "dataset": {
            "source": "npy",
            "x_path": "x.npy",
            "t_path": "t.npy",
            "drop_channels": [],
            "target_names": ["a", "b"],
        },
    }
    for name, section in sections.items():
        base[name] = {**base.get(name, {}), **section}
    return TrainingRun.model_validate(base)


def _save(project: Path, x: object = None, t: object = None) -> None:
    rng = np.random.default_rng(0)
    np.save(project / "x.npy", rng.normal(size=(40, 4, 32)) if x is None else np.asarray(x))
    np.save(project / "t.npy", rng.normal(size=(40, 2)) if t is None else np.asarray(t))


def _x(*shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(size=shape or (40, 4, 32))


def _only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


def test_good_data_have_no_problem(tmp_path: Path) -> None:
    _save(tmp_path)
    assert find_problems(_run(), tmp_path) == []


def test_a_missing_file_is_named_as_the_user_wrote_it(tmp_path: Path) -> None:
    _save(tmp_path)
    problem = _only(find_problems(_run(dataset={"x_path": "data/no.npy"}), tmp_path))
    assert (problem.key, problem.file) == ("dataset.x_path", "data/no.npy")
    assert "no such file" in problem.message


def test_a_folder_is_no_data_file(tmp_path: Path) -> None:
    _save(tmp_path)
    (tmp_path / "folder.npy").mkdir()
    problem = _only(find_problems(_run(dataset={"t_path": "folder.npy"}), tmp_path))
    assert problem.key == "dataset.t_path"
    assert "is a folder" in problem.message


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"solid,gas\n1,2\n", "not an .npy file"),
        (_npz(), "not an .npy file"),
        (pickle.dumps([1, 2]), "not an .npy file"),
        (b"\x93NUMPY\x01\x00\x20\x00" + b"?" * 60, "damaged header"),
        (b"\x93NUMPY\x01\x00", "truncated"),
    ],
)
def test_what_is_no_npy_file_is_said(tmp_path: Path, content: bytes, words: str) -> None:
    _save(tmp_path)
    (tmp_path / "x.npy").write_bytes(content)
    assert words in _only(find_problems(_run(), tmp_path)).message


def test_a_truncated_file_is_said(tmp_path: Path) -> None:
    _save(tmp_path)
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[:-1000])
    assert "truncated" in _only(find_problems(_run(), tmp_path)).message


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("the data file was unpickled",))


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    _save(tmp_path)
    np.save(tmp_path / "x.npy", np.array([_Bomb()], dtype=object), allow_pickle=True)
    assert "Python objects" in _only(find_problems(_run(), tmp_path)).message


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (_x().astype(np.complex64), "complex"),
        (_x() > 0, "booleans"),
        (_x().astype("S4"), "integers or floats"),
        (np.zeros((40, 4, 32), dtype=[("a", "f4")]), "integers or floats"),
        (np.zeros((0, 4, 32)), "is empty"),
        (np.zeros((40, 4, 0)), "is empty"),
        (_x(40, 128), "(N, C, L) or (N, C, H, W), but its shape is (40, 128)"),
        (np.float64(3), "but its shape is ()"),
        (_x(40, 2, 2, 2, 8), "but its shape is (40, 2, 2, 2, 8)"),
    ],
)
def test_signals_of_a_wrong_kind_or_shape(tmp_path: Path, x: object, words: str) -> None:
    _save(tmp_path, x=x)
    problem = _only(find_problems(_run(), tmp_path))
    assert (problem.key, problem.file) == ("dataset.x_path", "x.npy")
    assert words in problem.message


def test_targets_of_a_wrong_shape(tmp_path: Path) -> None:
    _save(tmp_path, t=_x(40, 2, 2))
    assert _only(find_problems(_run(), tmp_path)).key == "dataset.t_path"


def test_different_numbers_of_samples_name_both(tmp_path: Path) -> None:
    _save(tmp_path, t=_x(39, 2))
    problem = _only(find_problems(_run(), tmp_path))
    assert problem.key == "dataset.t_path"
    assert "39" in problem.message
    assert "40" in problem.message


def test_nan_and_infinity_are_counted_and_located(tmp_path: Path) -> None:
    x, t = _x(), _x(40, 2)
    x[5, 2, 12] = x[5, 2, 13] = x[7, 3, 1] = np.nan
    x[9, 3, 0] = -np.inf
    t[30, 1] = np.inf
    _save(tmp_path, x=x, t=t)

    problems = find_problems(_run(dataset={"drop_channels": [0]}), tmp_path)

    assert [(problem.key, problem.message) for problem in problems] == [
        ("dataset.x_path", "3 values are NaN, the first at index (5, 2, 12)"),
        (
            "dataset.x_path",
            "1 value is infinite or too large for a 32-bit float, at index (9, 3, 0)",
        ),
        (
            "dataset.t_path",
            "1 value is infinite or too large for a 32-bit float, at index (30, 1)",
        ),
    ]


def test_values_that_are_not_used_do_not_matter(tmp_path: Path) -> None:
    x, t = _x(), _x(40, 2)
    x[:, 1] = np.nan
    x[35:] = np.inf
    t[35:] = np.nan
    _save(tmp_path, x=x, t=t)
    assert find_problems(_run(dataset={"drop_channels": [1], "limit_samples": 35}), tmp_path) == []


def test_what_overflows_a_32_bit_float_is_found(tmp_path: Path) -> None:
    x = _x()
    x[0, 0, 0] = 1e300
    _save(tmp_path, x=x)
    assert "too large" in _only(find_problems(_run(), tmp_path)).message


def test_values_can_be_left_unread(tmp_path: Path) -> None:
    _save(tmp_path, x=np.full((40, 4, 32), np.nan))
    assert find_problems(_run(), tmp_path, look_at_values=False) == []


def test_a_channel_that_does_not_exist(tmp_path: Path) -> None:
    _save(tmp_path)
    problem = _only(find_problems(_run(dataset={"drop_channels": [1, 7, 7]}), tmp_path))
    assert problem.key == "dataset.drop_channels"
    assert problem.message == "channel 7 does not exist; the signals have channels 0 to 3"


def test_dropping_all_channels(tmp_path: Path) -> None:
    _save(tmp_path)
    problem = _only(find_problems(_run(dataset={"drop_channels": [0, 1, 2, 3]}), tmp_path))
    assert problem.key == "dataset.drop_channels"
    assert "all 4 channels" in problem.message


def test_a_channel_dropped_twice_is_harmless(tmp_path: Path) -> None:
    _save(tmp_path)
    assert find_problems(_run(dataset={"drop_channels": [1, 1]}), tmp_path) == []


def test_target_names_and_targets_are_both_counted(tmp_path: Path) -> None:
    _save(tmp_path)
    problem = _only(find_problems(_run(dataset={"target_names": ["a", "b", "c"]}), tmp_path))
    assert (problem.key, problem.message) == ("dataset.target_names", "3 names for 2 targets")


def test_more_targets_than_weights_need_an_unweighted_loss(tmp_path: Path) -> None:
    names: dict[str, object] = {"target_names": [f"t{i}" for i in range(8)]}
    _save(tmp_path, t=_x(40, 8))
    problem = _only(find_problems(_run(dataset=names), tmp_path))
    assert problem.key == "training.use_weighted_loss"
    unweighted = _run(dataset=names, training={"use_weighted_loss": False})
    assert find_problems(unweighted, tmp_path) == []


def test_weights_that_are_all_zero_would_learn_nothing(tmp_path: Path) -> None:
    _save(tmp_path)
    run = _run(training={"weight_target_0": 0.0, "weight_target_1": 0.0})
    assert _only(find_problems(run, tmp_path)).key == "training.use_weighted_loss"


def test_a_split_of_fewer_than_three_samples(tmp_path: Path) -> None:
    _save(tmp_path)
    problems = find_problems(_run(dataset={"limit_samples": 12}), tmp_path)
    assert [problem.key for problem in problems] == ["data_split.valid", "data_split.test"]
    assert problems[0].message == "gets 2 of 12 samples; at least 3 are needed"


def test_a_batch_larger_than_the_training_split(tmp_path: Path) -> None:
    _save(tmp_path)
    problem = _only(find_problems(_run(training={"batch_size": 29}), tmp_path))
    assert problem.key == "training.batch_size"
    assert "28 samples of the training split" in problem.message


@pytest.mark.parametrize(
    ("factor", "words"), [(33, "larger than the last axis"), (11, "has 2 values after")]
)
def test_downsampling_that_leaves_too_little(tmp_path: Path, factor: int, words: str) -> None:
    _save(tmp_path)
    problem = _only(find_problems(_run(dataset={"downsample_factor": factor}), tmp_path))
    assert problem.key == "dataset.downsample_factor"
    assert words in problem.message


def test_signals_that_are_too_short_as_they_are(tmp_path: Path) -> None:
    _save(tmp_path, x=_x(40, 4, 3))
    problem = _only(find_problems(_run(), tmp_path))
    assert (problem.key, problem.message) == (
        "dataset.x_path",
        "the last axis has 3 values; at least 4 are needed",
    )


def test_single_samples_need_signals_of_some_length(tmp_path: Path) -> None:
    _save(tmp_path, x=_x(40, 4, 16))
    single: dict[str, object] = {"batch_size": 1}
    assert _only(find_problems(_run(training=single), tmp_path)).key == "training.batch_size"
    _save(tmp_path, x=_x(40, 4, 17))
    assert find_problems(_run(training=single), tmp_path) == []


@pytest.mark.parametrize(("kind", "shape"), [("cnn1d", (40, 2, 8, 8)), ("cnn2d", (40, 2, 8))])
def test_a_network_of_the_wrong_dimensions(
    tmp_path: Path, kind: str, shape: tuple[int, ...]
) -> None:
    _save(tmp_path, x=_x(*shape))
    problem = _only(find_problems(_run(model={"type": kind}), tmp_path))
    assert problem.key == "model.type"
    assert str(len(shape)) in problem.message


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    x = _x()
    x[0, 2, 0] = np.nan
    _save(tmp_path, x=x, t=_x(39, 3))
    run = _run(
        dataset={"drop_channels": [9], "downsample_factor": 99},
        training={"batch_size": 500},
        model={"type": "cnn2d"},
    )
    assert {problem.key for problem in find_problems(run, tmp_path)} == {
        "dataset.t_path",
        "dataset.drop_channels",
        "dataset.target_names",
        "dataset.downsample_factor",
        "model.type",
        "training.batch_size",
        "dataset.x_path",
    }


def test_the_demonstration_data_are_made_and_fit_the_defaults(tmp_path: Path) -> None:
    assert find_problems(TrainingRun(), tmp_path) == []
    assert list((tmp_path / "data" / "demo").glob("*.npy"))


def test_a_problem_of_the_demonstration_data_names_their_file(tmp_path: Path) -> None:
    run = TrainingRun.model_validate({"dataset": {"target_names": ["a"], "drop_channels": []}})
    assert _only(find_problems(run, tmp_path)).message == "1 name for 6 targets"
    path = next((tmp_path / "data" / "demo").glob("x*.npy"))
    path.write_bytes(path.read_bytes()[:-1])
    problems = find_problems(run, tmp_path)
    assert (problems[0].key, problems[0].file) == (
        "dataset.source",
        str(path.relative_to(tmp_path)),
    )
