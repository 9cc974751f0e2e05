"""From the three files and the command line to one validated `Settings`, or every error at once.

Built-in defaults < `optuna_params.yaml: base_params` < `params.yaml` < overrides. Each error names
the file, the line and the key. This module does not know what any value is used for.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from tunectl.config import fields
from tunectl.config import overrides as override_grammar
from tunectl.config.draft import Draft
from tunectl.config.included import include_augmentation, own_keys
from tunectl.config.interpolation import merge, prune, resolve
from tunectl.config.layer import forget
from tunectl.config.layout import Layout, layout_of
from tunectl.config.origin import DEFAULT, Origin, find_origin, problem_at
from tunectl.config.overrides import Override
from tunectl.config.runs import DEFAULT_OBJECTIVE, objective_flaw
from tunectl.config.schema import Settings, Surroundings
from tunectl.config.search_schema import Failures, Search, Study
from tunectl.config.section import Section
from tunectl.config.space_checks import (
    check_conditions,
    check_constraints,
    check_specs,
    release,
)
from tunectl.config.tree import drop, leaves
from tunectl.config.values import flaw_of
from tunectl.config.wording import findings
from tunectl.config.yaml_source import Document, read
from tunectl.errors import ConfigError, Problem

__all__ = [
    "Files",
    "Loaded",
    "Origin",
    "load",
    "load_surroundings",
    "read_study_name",
]

_USUAL_NAMES = ("config.yaml", "params.yaml", "optuna_params.yaml")
_S = TypeVar("_S", bound=Section)


@dataclass(frozen=True, kw_only=True)
class Files:
    """The three files, relative to the project folder unless absolute."""

    config: Path = Path("config.yaml")
    params: Path = Path("params.yaml")
    optuna_params: Path = Path("optuna_params.yaml")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The settings, and where each of them comes from.

    Args:
        settings: Merged and validated.
        origins: By dotted key of every value; a parameter of the search space has one for all of
            it, `params_to_tune.<key>`.
    """

    settings: Settings
    origins: Mapping[str, Origin]

    def place(self, problem: Problem) -> Problem:
        """Return a problem that has only a key with the file and line of that key."""
        if problem.key is None or problem.file is not None:
            return problem
        return problem_at(find_origin(self.origins, problem.key), problem.message, problem.key)


def load(project: Path, *, files: Files | None = None, overrides: Sequence[str] = ()) -> Loaded:
    """Read, merge and validate the whole configuration.

    Args:
        project: The project folder.
        files: The three files, where they are not the usual ones.
        overrides: Hydra overrides from the command line, in order.

    Returns:
        The settings and their origins.

    Raises:
        ConfigError: with every problem of all files and overrides.
    """
    files = files or Files()
    problems: list[Problem] = []
    documents: list[tuple[Path, Document | None]] = []
    for path in (files.config, files.params, files.optuna_params):
        try:
            documents.append((path, _read(project, path)))
        except ConfigError as error:
            documents.append((path, None))
            problems.extend(error.problems)
    parsed, flaws = override_grammar.parse(overrides)
    objective = named_objective(documents[1][1], documents[2][1], parsed)
    draft = Draft(layout=layout_of(objective), problems=[*problems, *flaws])
    takers = (draft.take_config, draft.take_params, draft.take_optuna_params)
    for (path, document), taking in zip(documents, takers, strict=True):
        if document is not None:
            taking(document, str(path))
    for override in parsed:
        draft.apply(override)
    _refuse_unknown_objective(objective, draft)
    included = include_augmentation(draft, project)
    checked = _Checked(draft)
    if draft.problems:
        found = [own_keys(problem, included) for problem in draft.problems]
        names = [*(str(path) for path, _ in documents), *included]
        raise ConfigError(_in_order(found, names))
    return Loaded(settings=checked.settings(), origins=_all_origins(draft, checked.settings()))


def load_surroundings(
    project: Path, *, config: Path = Path("config.yaml"), explicit: bool = False
) -> Surroundings:
    """Read `config.yaml` alone, for what needs no more than paths and storage.

    Args:
        project: The project folder.
        config: The file, relative to the project folder unless absolute.
        explicit: Whether the user named the file, so that it must be there.

    Raises:
        ConfigError: with every problem of the file.
    """
    if not explicit and not (project / config).exists():
        return Surroundings()
    draft = Draft(layout=layout_of(DEFAULT_OBJECTIVE))
    draft.take_config(_read(project, config), str(config))
    checked = _Checked(draft)
    if draft.problems:
        raise ConfigError(_in_order(draft.problems, [str(config)]))
    return checked.settings().surroundings


def read_study_name(project: Path, optuna_params: Path = Path("optuna_params.yaml")) -> str | None:
    """Return `study.name` of `optuna_params.yaml`, None where there is no such file.

    Raises:
        ConfigError: the file cannot be read, or the name is not valid.
    """
    path = project / optuna_params
    if not path.exists():
        return None
    document = _read(project, optuna_params)
    section = document.values.get("study")
    name = section.get("name") if isinstance(section, Mapping) else None
    if isinstance(name, str) and "${" in name:
        # It may refer to anything, so all of it is needed.
        loaded = load(project, files=Files(optuna_params=optuna_params))
        return loaded.settings.search.study.name
    draft = Draft(layout=layout_of(DEFAULT_OBJECTIVE))
    kept = {"name": name} if isinstance(section, Mapping) and "name" in section else {}
    values = {"study": kept if isinstance(section, Mapping) else section}
    document = replace(document, values=values)
    draft.take_optuna_params(document, str(optuna_params))
    checked = _Checked(draft)
    if draft.problems:
        raise ConfigError(draft.problems)
    return checked.settings().search.study.name


def _read(project: Path, path: Path) -> Document:
    hint = "; `tunectl init` writes it" if str(path) in _USUAL_NAMES else ""
    if str(path) == _USUAL_NAMES[0]:
        hint += ", and an empty one will do"
    return read(project / path, name=str(path), if_missing=f"there is no such file{hint}")


class _Checked:
    """A draft, merged and validated section by section; what is wrong goes to its problems."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._layout = draft.layout
        self._origins = draft.origins
        tree = self._tree()
        outside = set(Surroundings.model_fields)
        # config.yaml is also read alone, so it must mean the same without the other files.
        surroundings = self._resolve(
            {key: tree[key] for key in outside}, outside, scope=" in this file"
        )
        rest = self._resolve({**tree, **surroundings}, set(tree) - outside)
        run = self._of_the_run(rest)
        self._surroundings = self._validate(Surroundings, surroundings)
        self._run = self._validate(self._layout.run, run)
        self._study = self._validate(Study, rest.get("study", {}), "study")
        self._failures = self._validate(Failures, rest.get("failures", {}), "failures")
        self._specs = self._check_space(rest.get(fields.SPACE, {}), run)
        self._constraints = self._check_constraints(rest.get("constraints"))

    def settings(self) -> Settings:
        """Return the settings; only for a draft without problems."""
        assert self._surroundings is not None
        assert self._run is not None
        assert self._study is not None
        assert self._failures is not None
        search = Search(
            study=self._study,
            failures=self._failures,
            params_to_tune=self._specs,
            constraints=self._constraints,
        )
        return Settings(surroundings=self._surroundings, run=self._run, search=search)

    def _tree(self) -> dict[str, Any]:
        """Return everything merged, interpolations not yet resolved."""
        layers = [
            _defaults(self._layout),
            *(copy.deepcopy(layer.values) for layer in self._draft.layers),
        ]
        space = {fields.SPACE: copy.deepcopy(self._draft.space.specs)}
        for layer in layers[1:]:
            self._report(prune(layer))
        self._report(prune(space))
        for component in ("sampler", "pruner"):
            self._settle_arguments(layers, component)
        return {**merge(layers), **space}

    def _settle_arguments(self, layers: list[dict[str, Any]], component: str) -> None:
        """Drop arguments that were written for another class than the one that is named last.

        A file's arguments also replace the built-in ones, so that a file means what it says.
        """
        name = layers[0]["study"][component]["name"]
        last = len(layers) - 1
        for index, layer in enumerate(layers[1:], start=1):
            upper = layer.get("study", {}).get(component, {})
            renamed = "name" in upper and upper["name"] != name
            if not renamed and not ("kwargs" in upper and index < last):
                continue
            name = upper.get("name", name)
            for lower in layers[:index]:
                lower.get("study", {}).get(component, {}).pop("kwargs", None)
            if index == last:
                written = self._draft.study.origins
                forget(written, f"study.{component}.kwargs")

    def _resolve(
        self, tree: Mapping[str, Any], sections: Iterable[str], *, scope: str = ""
    ) -> dict[str, Any]:
        values, failures = resolve(tree, set(sections), scope=scope)
        self._report(failures)
        flaws = [(path, flaw_of(value)) for path, value in leaves(values)]
        for path, flaw in flaws:
            if flaw:
                self._report([(path, flaw)])
                drop(values, path)
        return values

    def _validate(self, model: type[_S], values: Mapping[str, Any], prefix: str = "") -> _S | None:
        try:
            return model.model_validate(dict(values))
        except ValidationError as error:
            for finding in findings(error, prefix, self._layout):
                key = ".".join(part for part in (prefix, finding.key) if part)
                self._add(key, finding.message)
            return None

    def _check_space(self, raw: dict[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
        broken = {problem.key for problem in self._draft.problems if problem.key}
        left = self._draft.space.left
        whole = {
            key: spec
            for key, spec in release(raw, left, run, self._layout).items()
            if not any(f"{name}.".startswith(f"{fields.SPACE}.{key}.") for name in broken)
        }
        specs, found = check_specs(whole, run, self._layout)
        found += check_conditions(specs, set(raw), self._layout)
        for finding in found:
            self._add(finding.key, finding.message)
        return specs

    def _check_constraints(self, raw: Any) -> tuple[str, ...]:
        found = check_constraints(raw, self._specs, self._layout)
        for finding in found:
            self._add(finding.key, finding.message)
        return () if found or raw is None else tuple(raw)

    def _of_the_run(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Return what belongs to the training run; where it is open, all that is nobody else's."""
        others = (self._layout.known_tops | {fields.SPACE}) - set(self._layout.run.model_fields)
        return {key: value for key, value in tree.items() if key not in others}

    def _report(self, failures: Iterable[tuple[tuple[str, ...], str]]) -> None:
        for path, message in failures:
            self._add(".".join(path), message)

    def _add(self, key: str, message: str) -> None:
        origin = find_origin(self._origins, key)
        self._draft.problems.append(problem_at(origin, message, key))


def _defaults(layout: Layout) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "study": Study().model_dump(mode="json"),
        "failures": Failures().model_dump(mode="json"),
        "constraints": [],
    }
    for model in (Surroundings, layout.run):
        plain.update(model().model_dump(mode="json"))
    return plain


def _all_origins(draft: Draft, settings: Settings) -> dict[str, Origin]:
    """Return where every value that is there comes from, the defaults included."""
    written = draft.origins
    keys = [key for key in draft.layout.leaves if key != fields.SPACE]
    keys.extend(key for key in written if key.partition(".")[0] not in draft.layout.known_tops)
    for name in ("sampler", "pruner"):
        component = getattr(settings.search.study, name)
        keys.extend(f"study.{name}.kwargs.{key}" for key in component.kwargs)
    keys.extend(f"{fields.SPACE}.{key}" for key in settings.search.params_to_tune)
    return {key: written.get(key, DEFAULT) for key in keys}


def _refuse_unknown_objective(objective: object, draft: Draft) -> None:
    """Refuse what names no objective: without one, every other key would seem to be wrong.

    Raises:
        ConfigError: that alone is said.
    """
    message = objective_flaw(objective)
    if message is not None:
        origin = find_origin(draft.origins, "objective")
        raise ConfigError([problem_at(origin, message, "objective")])
    for problem in draft.problems:
        name = problem.key or ""
        is_top = "." not in name and problem.kind == "unknown_key"
        if is_top and fields.nearest(name, ["objective"]):
            raise ConfigError([problem])


def named_objective(
    params: Document | None, search: Document | None, overrides: Sequence[Override]
) -> object:
    """Return what stands under `objective` where it counts: it decides which keys there may be.

    Args:
        params: `params.yaml`, None where it cannot be read.
        search: `optuna_params.yaml`, likewise.
        overrides: Of the command line, in order.
    """
    base = search.values.get(fields.BASE) if search else None
    said: object = DEFAULT_OBJECTIVE
    for values in (base, params.values if params else None):
        if isinstance(values, Mapping) and "objective" in values:
            said = values["objective"]
    for override in overrides:
        if override.parts == ("objective",):
            said = override.value if override.kind == "set" else DEFAULT_OBJECTIVE
        elif override.parts[0] == "objective":
            said = {}
    return said


def _in_order(problems: Sequence[Problem], files: Sequence[str]) -> list[Problem]:
    """Return each problem once, file by file and line by line, the command line last."""

    def rank(problem: Problem) -> tuple[int, int]:
        index = files.index(problem.file) if problem.file in files else len(files)
        return index, problem.line or 0

    return sorted(dict.fromkeys(problems), key=rank)
