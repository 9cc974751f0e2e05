"""Everything in a training run and its data that would make a trial fail, found without training.

It knows no PyTorch: a command that only checks must start fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tunectl.config.signal_run import N_TARGET_WEIGHTS, RegressionRun, SignalRun
from tunectl.errors import Problem
from tunectl.training.architecture import MIN_LENGTH, narrowest_positions, resolve_kind
from tunectl.training.data import are_known_sound, downsample_problems, split_sizes
from tunectl.training.data_files import OpenDataset, find_value_problems, open_dataset

MIN_SPLIT = 3
"""Fewer samples in a part of the split give no metric worth the name."""


@dataclass(frozen=True)
class _Layout:
    """Sizes of the selected data; None where the files do not tell."""

    samples: int | None
    axes: tuple[int, ...] | None
    targets: int | None


def find_problems(
    run: RegressionRun, project: Path, *, look_at_values: bool = True
) -> list[Problem]:
    """Check a training run against its data.

    Args:
        run: The training run.
        project: The project folder.
        look_at_values: Read all selected values in search of NaN and infinities, unless that has
            been done and the files have not changed; without, only the files' headers are read.

    Returns:
        Every problem, with its configuration key; `file` is set where the data file is at fault.

    Raises:
        StorageError: the demonstration data cannot be written.
    """
    opened = open_dataset(run.dataset, project)
    layout = _layout(run, opened)
    return [
        *opened.problems,
        *_target_problems(run, layout),
        *downsample_problems(run.dataset, opened),
        *(_model_problems(run, layout) if isinstance(run, SignalRun) else []),
        *_split_problems(run, layout),
        *(_value_problems(run, project, opened) if look_at_values else []),
    ]


def _value_problems(run: RegressionRun, project: Path, opened: OpenDataset) -> list[Problem]:
    return [] if are_known_sound(run.dataset, project) else find_value_problems(opened)


def _layout(run: RegressionRun, opened: OpenDataset) -> _Layout:
    axes = None
    if opened.x is not None:
        *others, length = opened.x.shape[2:]
        axes = (*others, length // run.dataset.downsample_factor)
    both = opened.x is not None and opened.t is not None
    return _Layout(
        samples=opened.limit if both else None,
        axes=axes,
        targets=opened.t.shape[1] if opened.t is not None else None,
    )


def _target_problems(run: RegressionRun, layout: _Layout) -> list[Problem]:
    if layout.targets is None:
        return []
    problems = []
    names = run.dataset.target_names
    if names is not None and len(names) != layout.targets:
        message = f"{_counted(len(names), 'name')} for {_counted(layout.targets, 'target')}"
        problems.append(Problem(key="dataset.target_names", message=message))
    if not run.training.use_weighted_loss:
        return problems
    if layout.targets > N_TARGET_WEIGHTS:
        last = N_TARGET_WEIGHTS - 1
        message = (
            f"there are {layout.targets} targets, but weights only for {N_TARGET_WEIGHTS} "
            f"(training.weight_target_0 to _{last}); with so many it must be false"
        )
        problems.append(Problem(key="training.use_weighted_loss", message=message))
    elif not any(run.training.target_weights[: layout.targets]):
        message = "the weights of all targets are 0, so that nothing would be learnt"
        problems.append(Problem(key="training.use_weighted_loss", message=message))
    return problems


def _model_problems(run: SignalRun, layout: _Layout) -> list[Problem]:
    if layout.axes is None:
        return []
    problems = []
    try:
        resolve_kind(run.model.type, len(layout.axes) + 2)
    except ValueError as error:
        problems.append(Problem(key="model.type", message=str(error)))
    length, factor = layout.axes[-1], run.dataset.downsample_factor
    if 0 < length < MIN_LENGTH:
        after = f"after taking means of {factor} " if factor > 1 else ""
        key = "dataset.downsample_factor" if factor > 1 else "dataset.x_path"
        message = f"the last axis has {_counted(length, 'value')} {after}; at least {MIN_LENGTH}"
        problems.append(Problem(key=key, message=f"{message.replace(' ;', ';')} are needed"))
    narrowest = narrowest_positions(layout.axes, use_residual=run.model.use_residual)
    if run.training.batch_size == 1 and narrowest == 1:
        message = "signals this short need batches of at least 2 (for the batch normalisation)"
        problems.append(Problem(key="training.batch_size", message=message))
    return problems


def _split_problems(run: RegressionRun, layout: _Layout) -> list[Problem]:
    if layout.samples is None:
        return []
    problems = []
    sizes = split_sizes(layout.samples, run.data_split)
    for part, size in zip(("train", "valid", "test"), sizes, strict=True):
        if size < MIN_SPLIT:
            message = f"gets {size} of {_counted(layout.samples, 'sample')}; at least {MIN_SPLIT}"
            problems.append(Problem(key=f"data_split.{part}", message=f"{message} are needed"))
    if run.training.batch_size > sizes[0]:
        batch = run.training.batch_size
        message = f"{batch} is more than the {_counted(sizes[0], 'sample')} of the training split"
        problems.append(Problem(key="training.batch_size", message=message))
    return problems


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
