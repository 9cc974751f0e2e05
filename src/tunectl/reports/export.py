"""The best trial as a bundle: what goes into it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files as resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from tunectl.artifacts.atomic import to_yaml
from tunectl.artifacts.bundle import CARD, ONNX, PARAMS, WEIGHTS, Content, write_bundle
from tunectl.artifacts.study_dir import folder_name
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import Settings, TrialConfig
from tunectl.errors import ArtifactError, TrialNotFoundError
from tunectl.objectives.data_facts import DataFacts
from tunectl.objectives.registry import find_objective
from tunectl.reports.data_facts import look_at_data
from tunectl.reports.model_card import CardFacts, write_model_card
from tunectl.reports.plain_export import LEFT, plain_files
from tunectl.reports.summary import StudySummary, TrialSummary
from tunectl.search.space import SearchSpace, describe

if TYPE_CHECKING:
    from tunectl.training.packaged import PackagedNet

REQUIREMENTS = {"numpy": "2.0", "safetensors": "0.5", "torch": "2.10"}
"""What `predict.py` needs, with the lowest version that it works with."""

NO_ONNX = "no model.onnx: it needs the extra onnx (pip install 'tunectl[onnx]')"

NO_CORRECTION = "no model.onnx: the correction of the brightness is no part of the network"

NO_FINGERPRINT = "the data are gone or have changed since, so the model card has no fingerprint"


@dataclass(frozen=True, kw_only=True)
class Export:
    """An exported bundle.

    Args:
        path: Absolute path of the folder or archive.
        has_onnx: Whether it has an ONNX file.
        notes: What the user should know, a sentence each.
    """

    path: Path
    has_onnx: bool
    notes: tuple[str, ...]


def export_best(
    summary: StudySummary,
    best: TrialSummary,
    settings: Settings | None,
    project: Path,
    target: Path,
) -> Export:
    """Write the bundle of a completed trial.

    Args:
        summary: The study.
        best: The trial.
        settings: What the study runs with; None for one that another program made.
        project: Absolute path of the project folder.
        target: The bundle's folder, or its archive where it ends in `.zip`; an earlier bundle there
            is replaced.

    Raises:
        TrialNotFoundError: the trial's directory is gone.
        ArtifactError: a file of it is gone or damaged.
        StorageError: the bundle cannot be written.
        UsageError: something stands at `target` that is no bundle.
    """
    if best.output_dir is None or not (project / best.output_dir).is_dir():
        place = best.output_dir or "none is recorded"
        raise TrialNotFoundError(f"the directory of trial {best.number} is not here: {place}")
    source = TrialDir(project / best.output_dir)
    config = _read_config(source)
    root = f"{folder_name(summary.name)}-{best.number}"
    if not find_objective(config.run).leaves_network:
        return _export_plain(_plain_files(source, config, best), target, root)
    from tunectl.training.packaged import load_packaged

    network = load_packaged(source)
    data = look_at_data(source, config, project, network)
    onnx, notes = _onnx(network, data)
    if data is None:
        notes = (*notes, NO_FINGERPRINT)
    space = SearchSpace(settings.search.params_to_tune).specs if settings else {}
    facts = CardFacts(
        trial=best,
        config=config,
        metrics=_read_json(source.metrics_file),
        info=source.read_info(),
        plan=_read_json(source.model_file),
        space={key: describe(spec) for key, spec in space.items()},
        finished=summary.states["complete"] + summary.states["pruned"],
        data=data,
        signals=_signals_text(network, data),
        has_onnx=onnx is not None,
    )
    files = _files(source, config, facts, network) | ({ONNX: onnx} if onnx else {})
    return Export(path=write_bundle(target, files, root), has_onnx=onnx is not None, notes=notes)


def _export_plain(left: Mapping[str, Content], target: Path, root: str) -> Export:
    """Write the bundle of a trial without a network, and name what lies in another place there."""
    moved = sorted(name for name in left if name.startswith(f"{LEFT}/"))
    return Export(
        path=write_bundle(target, left, root),
        has_onnx=False,
        notes=tuple(f"the trial's own {Path(name).name} is {name}" for name in moved),
    )


def _files(
    source: TrialDir, config: TrialConfig, facts: CardFacts, network: PackagedNet
) -> dict[str, bytes]:
    from safetensors.torch import save

    params = config.run.model_dump(mode="json")
    weights = {name: tensor.contiguous() for name, tensor in network.network.state_dict().items()}
    predict = resources("tunectl.training") / "standalone.py"
    brightness = resources("tunectl.training") / "brightness.py"
    corrects = network.correction is not None
    return {
        **_copied(source),
        PARAMS: to_yaml(params).encode(),
        WEIGHTS: save(weights),
        CARD: write_model_card(facts).encode(),
        "requirements.txt": _requirements(facts.info).encode(),
        "predict.py": predict.read_bytes(),
        **({"brightness.py": brightness.read_bytes()} if corrects else {}),
    }


def _plain_files(source: TrialDir, config: TrialConfig, best: TrialSummary) -> dict[str, Content]:
    try:
        return plain_files(source, config, best)
    except OSError as error:
        raise ArtifactError(f"{error.filename or source.path}: {error.strerror}") from error


def _copied(source: TrialDir) -> dict[str, bytes]:
    """Return what the trial left that is of use elsewhere."""
    plots = sorted(source.plots_dir.glob("*")) if source.plots_dir.is_dir() else []
    singles = (
        source.weights_file,
        source.model_file,
        source.scaling_file,
        source.metrics_file,
        source.summary_file,
        source.config_file,
        source.info_file,
        source.learning_curves_file,
    )
    named = {file.name: file for file in singles}
    named |= {f"{source.plots_dir.name}/{file.name}": file for file in plots}
    try:
        return {name: file.read_bytes() for name, file in named.items() if file.is_file()}
    except OSError as error:
        raise ArtifactError(f"{error.filename} cannot be read: {error.strerror}") from error


def _onnx(network: PackagedNet, data: DataFacts | None) -> tuple[bytes | None, tuple[str, ...]]:
    """Return the network as an ONNX file, or why there is none."""
    from tunectl.training.onnx_export import OnnxMismatchError, is_installed, to_onnx

    if network.correction is not None:
        return None, (NO_CORRECTION,)
    if not is_installed():
        return None, (NO_ONNX,)
    try:
        return to_onnx(network, data.sample_shape if data else network.sample_shape), ()
    except OnnxMismatchError as error:
        return None, (f"no model.onnx: {error}",)


def _signals_text(network: PackagedNet, data: DataFacts | None) -> str:
    from tunectl.training.prediction import shape_text

    if data is None:
        return shape_text(network)
    return "(" + ", ".join(["N", *map(str, data.sample_shape)]) + ")"


def _requirements(info: Mapping[str, Any]) -> str:
    """Return `requirements.txt`: lowest versions, and those that were in use as comments."""
    used = dict(info.get("versions", {}))
    lines = []
    for name, lowest in REQUIREMENTS.items():
        seen = used.get(name) or _installed(name)
        lines.append(f"{name}>={lowest}" + (f"  # made with {seen}" if seen else ""))
    return "\n".join(lines) + "\n"


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _read_config(source: TrialDir) -> TrialConfig:
    try:
        document = yaml.safe_load(source.config_file.read_text(encoding="utf-8"))
        return TrialConfig.model_validate(document)
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ArtifactError(f"{source.config_file} cannot be read: {error}") from error


def _read_json(file: Path) -> Mapping[str, Any]:
    try:
        document: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{file} cannot be read: {error}") from error
    return document
