"""Whether the search space fits the configuration: every value that it can propose must be valid.

This module knows the schema and Settings' values, not where they were written: it returns findings.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from tunectl.config import fields
from tunectl.config.constraints import parse_constraint
from tunectl.config.layout import Layout
from tunectl.config.search_schema import Choice, FloatRange, IntRange, ParameterSpec
from tunectl.config.section import Section
from tunectl.config.values import describe
from tunectl.config.wording import Finding, findings

Spec = IntRange | FloatRange | Choice
_SPEC: TypeAdapter[Spec] = TypeAdapter(ParameterSpec)


def check_specs(
    raw: Mapping[str, Mapping[str, Any]], run: Mapping[str, Any], layout: Layout
) -> tuple[dict[str, Spec], list[Finding]]:
    """Validate the parameters one by one, and what they may propose.

    Args:
        raw: Parameters as plain mappings, by dotted key of a tunable value.
        run: The merged values of the training run, by section.
        layout: Which keys may be searched, and what they may hold.

    Returns:
        The valid parameters, and what is wrong with the others; keys start with `params_to_tune.`.
    """
    specs: dict[str, Spec] = {}
    found: list[Finding] = []
    for key, plain in raw.items():
        prefix = f"{fields.SPACE}.{key}"
        try:
            specs[key] = _SPEC.validate_python(_complete(key, plain, layout))
        except ValidationError as error:
            found.extend(_placed(prefix, findings(error, prefix)))
            continue
        found.extend(_placed(prefix, _misfits(key, specs[key], run, layout)))
        if key not in layout.tunable:
            message = _collision(key, raw, run)
            found.extend([] if message is None else [Finding(key=prefix, message=message)])
    return specs, found


def _collision(
    key: str, raw: Mapping[str, Mapping[str, Any]], run: Mapping[str, Any]
) -> str | None:
    """Return what stands in the way of a value of the user's own, None if nothing does."""
    inner = next((other for other in raw if other.startswith(f"{key}.")), None)
    if inner is not None:
        return f"is a section, since {inner} is searched too"
    parts = key.split(".")
    for length in range(1, len(parts)):
        above = ".".join(parts[:length])
        value = _value_at(run, above)
        if value is not None and not isinstance(value, Mapping):
            return f"{above} is {describe(value)}, so there is nothing below it"
    if isinstance(_value_at(run, key), Mapping):
        return "is a section; search the values in it"
    return None


def check_constraints(raw: Any, searched: Collection[str], layout: Layout) -> list[Finding]:
    """Return what is wrong with the constraints; keys start with `constraints`.

    Args:
        raw: What stands under `constraints`, merged.
        searched: Keys of the search space.
        layout: Which keys there may be.
    """
    if raw is None:
        return []
    if not isinstance(raw, list):
        return [Finding(key="constraints", message=f"expected a list, not {describe(raw)}")]
    found = []
    for index, text in enumerate(raw):
        message = _constraint_flaw(text, searched, layout)
        if message is not None:
            found.append(Finding(key=f"constraints.{index}", message=message))
    return found


def _constraint_flaw(text: Any, searched: Collection[str], layout: Layout) -> str | None:
    if not isinstance(text, str):
        return f'expected text such as "model.hidden <= 64", not {describe(text)}'
    try:
        constraint = parse_constraint(text)
    except ValueError as error:
        return str(error)
    numeric = [name for name, info in layout.tunable.items() if _is_number(info)]
    numeric += [name for name in searched if name not in layout.tunable]
    for name in sorted(constraint.names):
        if name not in numeric:
            return fields.unknown(name, numeric, layout.tunable)
    return None


def _is_number(info: FieldInfo) -> bool:
    return fields.base_type(info) in (int, float, bool)


def _placed(prefix: str, found: Iterator[Finding]) -> Iterator[Finding]:
    for finding in found:
        key = f"{prefix}.{finding.key}" if finding.key else prefix
        yield Finding(key=key, message=finding.message)


def _complete(key: str, plain: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """Return a parameter with its type and its conditions in full, as far as they can be told."""
    spec = dict(plain)
    if "type" not in spec and ("choices" in spec or "low" in spec or "high" in spec):
        spec["type"] = "categorical" if "choices" in spec else _likely_type(key, spec, layout)
    if isinstance(spec.get("when"), Mapping):
        spec["when"] = dict(_conditions(spec["when"])) or None
    return spec


def _likely_type(key: str, spec: Mapping[str, Any], layout: Layout) -> str:
    info = layout.tunable_at(key)
    if info is fields.ANYTHING:
        ends = (spec.get("low"), spec.get("high"))
        whole = all(isinstance(end, int) for end in ends) and not spec.get("log")
        return "int" if whole else "float"
    assert info is not None
    return fields.spec_types(info)[0]


def _conditions(when: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, wanted in when.items():
        if isinstance(wanted, Mapping):
            yield from _conditions(wanted, f"{above}{name}.")
        else:
            yield f"{above}{name}", wanted


def _misfits(key: str, spec: Spec, run: Mapping[str, Any], layout: Layout) -> Iterator[Finding]:
    """Yield what the parameter may propose and the field cannot take."""
    info = layout.tunable_at(key)
    assert info is not None
    allowed = fields.spec_types(info)
    if spec.type not in allowed:
        message = f"{key} takes {_taken(info)}, so its type must be {' or '.join(allowed)}, not"
        hint = "; on the command line int(interval(low,high))" if "int" in allowed else ""
        yield Finding(key="type", message=f"{message} {spec.type}{hint}")
        return
    for name, value in _extremes(spec):
        for message in _refusals(key, value, run, layout):
            yield Finding(key=name, message=message)


def _taken(info: FieldInfo) -> str:
    names: dict[object, str] = {int: "whole numbers", bool: "true or false", str: "text"}
    return names.get(fields.base_type(info), "certain values only")


def _extremes(spec: Spec) -> Iterator[tuple[str, Any]]:
    if isinstance(spec, Choice):
        yield from ((f"choices.{index}", choice) for index, choice in enumerate(spec.choices))
    else:
        yield "low", spec.low
        yield "high", spec.high


def _refusals(key: str, value: Any, run: Mapping[str, Any], layout: Layout) -> Iterator[str]:
    """Yield why the section of `key` cannot take `value`, apart from what is wrong there anyway."""
    if key not in layout.tunable:
        return  # the user's own, which takes anything
    section, _, name = key.partition(".")
    model = fields.section_type(layout.run.model_fields[section])
    assert model is not None
    base = run.get(section, {})
    before = {finding.key for finding in _section_findings(model, base, section, layout)}
    for finding in _section_findings(model, {**base, name: value}, section, layout):
        own = finding.key == name or finding.key.startswith(f"{name}.")
        if own or (not finding.key and not before):
            yield finding.message


def _section_findings(
    model: type[Section], values: Mapping[str, Any], section: str, layout: Layout
) -> list[Finding]:
    try:
        model.model_validate(dict(values))
    except ValidationError as error:
        return list(findings(error, section, layout))
    return []


def release(
    raw: dict[str, dict[str, Any]], left: set[str], run: Mapping[str, Any], layout: Layout
) -> dict[str, dict[str, Any]]:
    """Settle the conditions on parameters that an override has taken out of the space.

    A condition that the fixed value meets falls away; a parameter whose condition it does not meet
    can never exist and leaves the space too, and so do those that depend on it.

    Args:
        raw: Parameters as plain mappings, by dotted key.
        left: Keys of the parameters taken out.
        run: The merged values of the training run, by section.
        layout: Which keys may be searched.

    Returns:
        The parameters that stay.
    """
    specs = {key: _complete(key, spec, layout) for key, spec in raw.items()}
    gone: set[str] = set()
    while True:
        never = {key for key, spec in specs.items() if _is_never(spec, left, gone, run)}
        if not never:
            break
        gone |= never
        specs = {key: spec for key, spec in specs.items() if key not in never}
    for spec in specs.values():
        when = spec.get("when")
        if isinstance(when, Mapping):
            spec["when"] = {key: want for key, want in when.items() if key not in left} or None
    return specs


def _is_never(
    spec: Mapping[str, Any], left: set[str], gone: set[str], run: Mapping[str, Any]
) -> bool:
    when = spec.get("when")
    if not isinstance(when, Mapping):
        return False
    return any(
        parent in gone
        or (
            parent in left and not any(_same(_value_at(run, parent), want) for want in _all(wanted))
        )
        for parent, wanted in when.items()
    )


def _value_at(run: Mapping[str, Any], key: str) -> Any:
    here: Any = run
    for name in key.split("."):
        here = here.get(name) if isinstance(here, Mapping) else None
    return here


def check_conditions(specs: Mapping[str, Spec], names: set[str], layout: Layout) -> list[Finding]:
    """Check every `when`: its parents are tuned, its values can occur, and it is no circle.

    Args:
        specs: The valid parameters.
        names: Keys of all parameters, the invalid ones too.
        layout: Which keys may be searched.
    """
    found: list[Finding] = []
    for key, spec in specs.items():
        for parent, wanted in (spec.when or {}).items():
            place = f"{fields.SPACE}.{key}.when"
            message = _condition_flaw(parent, wanted, specs, names, layout)
            if _leads_to(parent, key, specs):
                message = f"goes in a circle, because {parent} depends on {key}"
            if message:
                found.append(Finding(key=place, message=message))
    return found


def _condition_flaw(
    parent: str, wanted: Any, specs: Mapping[str, Spec], names: set[str], layout: Layout
) -> str | None:
    if parent not in names:
        near = fields.nearest(parent, names) if parent not in layout.tunable else None
        question = f"; did you mean {near}?" if near else ""
        return f"depends on {parent}, which is not in {fields.SPACE}{question}"
    if parent not in specs:
        return None  # it has a problem of its own
    wishes = _all(wanted)
    if not wishes:
        return f"depends on {parent} being one of nothing"
    impossible = [wish for wish in wishes if not _can_be(specs[parent], wish)]
    if not impossible:
        return None
    if isinstance(specs[parent], FloatRange):
        return (
            f"depends on {parent}, which is continuous; only choices and whole numbers can be met"
        )
    return f"depends on {parent} being {describe(impossible[0])}, which it never is"


def _all(wanted: Any) -> list[Any]:
    return list(wanted) if isinstance(wanted, list | tuple) else [wanted]


def _can_be(spec: Spec, wish: Any) -> bool:
    if isinstance(spec, Choice):
        return any(_same(choice, wish) for choice in spec.choices)
    if isinstance(spec, FloatRange) or isinstance(wish, bool) or not isinstance(wish, int | float):
        return False
    within = math.isfinite(wish) and spec.low <= wish <= spec.high
    return within and (wish - spec.low) % spec.step == 0


def _same(value: Any, wish: Any) -> bool:
    """Return whether two plain values are the same to a reader: true is not 1, but 1 is 1.0."""
    return bool(value == wish) and isinstance(value, bool) == isinstance(wish, bool)


def _leads_to(start: str, goal: str, specs: Mapping[str, Spec]) -> bool:
    """Return whether `start` is `goal` or depends on it, directly or not."""
    waiting, seen = [start], set[str]()
    while waiting:
        key = waiting.pop()
        if key == goal:
            return True
        if key not in seen and key in specs:
            seen.add(key)
            waiting.extend(specs[key].when or {})
    return False
