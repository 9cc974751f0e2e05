"""The three files as JSON Schemas, for editors: completion, and a mark under what is mistyped.

They are read off the models in `schema.py`, then widened by what `load` accepts beyond those:
interpolations, empty sections, dotted keys, `min` and `max`. They are draft 2020-12, and only say
what can be said of a file by itself; `load` has the last word. This module writes no files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from tunectl.config import fields
from tunectl.config.layout import Layout, layout_of
from tunectl.config.runs import DEFAULT_OBJECTIVE
from tunectl.config.schema import Surroundings
from tunectl.config.search_schema import STUDY_NAME, Choice, FloatRange, IntRange, OneOrMany, Search
from tunectl.config.section import Section

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FOLDER = ".tunectl"
"""Where `init` puts the schemas, below the folder of the three files."""

OBJECTIVE = "objective"
_NOTES = ("description", "default", "examples")
_INTERPOLATION: dict[str, Any] = {"$ref": "#/$defs/Interpolation"}
_NULL: dict[str, Any] = {"type": "null"}
_SCALAR: dict[str, Any] = {"type": ["boolean", "number", "string", "null"]}
_PATTERNS = {"study.name": f"^{STUDY_NAME.pattern}$|\\$\\{{"}
_SPECS: Mapping[str, type[Section]] = {"int": IntRange, "float": FloatRange, "categorical": Choice}
_PART_NOTES = {
    "type": "int, float or categorical",
    "low": "smallest value, included",
    "high": "largest value, included",
    "step": "distance of the values",
    "log": "drawn evenly on a logarithmic scale",
    "choices": "the values",
    "when": "the parameter exists only if others have these values",
}


def schema_name(file: str) -> str:
    """Return the name of a file's schema: `params.yaml` → `params.schema.json`."""
    return f"{file.removesuffix('.yaml')}.schema.json"


def render_schemas(
    names: Mapping[str, Collection[str]] | None = None, layout: Layout | None = None
) -> dict[str, Any]:
    """Return the schema of each file, by the schema's own file name.

    Args:
        names: Dotted key of a value that is a name → the names that there are; for the samplers,
            pruners and objectives, which the configuration itself does not know.
        layout: Which keys there may be, for the project's objective; that of the default one.
    """
    known = names or {}
    keys = layout or layout_of(DEFAULT_OBJECTIVE)
    return {
        schema_name("config.yaml"): _document("config.yaml", Surroundings, known),
        schema_name("params.yaml"): _document("params.yaml", keys.run, known),
        schema_name("optuna_params.yaml"): _optuna_document(known, keys),
    }


def _document(file: str, model: type[Section], names: Mapping[str, Collection[str]]) -> Any:
    defs: dict[str, Any] = {"Interpolation": _interpolation()}
    body = _section(model, "", defs, names)
    return {"$schema": DIALECT, "title": f"tunectl: {file}", **body, "$defs": defs}


def _optuna_document(names: Mapping[str, Collection[str]], layout: Layout) -> Any:
    document = _document("optuna_params.yaml", Search, names)
    document["description"] = "The study and its search space."
    defs, properties = document["$defs"], document["properties"]
    run = _section(layout.run, "", defs, names)
    defs.update({f"{name.title()}Parameter": _spec(name) for name in _SPECS})
    defs["Wanted"] = {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}]}
    defs["When"] = _when(layout)
    properties[fields.SPACE] = _space(defs, layout)
    properties[fields.BASE] = {
        "description": "values for params.yaml to build on; where both have one, that one counts",
        "anyOf": [_base(run["properties"], layout), _NULL],
    }
    return document


def _interpolation() -> dict[str, Any]:
    return {
        "description": "another value, for example ${study.seed}",
        "type": "string",
        "pattern": "\\$\\{",
    }


# -- sections and values -------------------------------------------------------------------------


def _section(
    model: type[Section], prefix: str, defs: dict[str, Any], names: Mapping[str, Collection[str]]
) -> dict[str, Any]:
    """Return the schema of a section; those of the sections in it go to `defs`."""
    plain = model.model_json_schema()["properties"]
    properties: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        key = f"{prefix}{name}"
        inner = fields.section_type(info)
        if inner is None:
            properties[name] = _value(key, info, plain[name], names)
        else:
            place = _place(key)
            defs[place] = _section(inner, f"{key}.", defs, names)
            said = info.description or defs[place]["description"]
            ref = {"$ref": f"#/$defs/{place}"}
            properties[name] = {"description": said, "anyOf": [ref, _NULL]}
    said = (model.__doc__ or "").strip().splitlines()[0]
    return {
        "description": said,
        "type": "object",
        "properties": properties,
        "additionalProperties": model.model_config.get("extra") == "allow",
    }


def _value(
    key: str, info: FieldInfo, plain: Mapping[str, Any], names: Mapping[str, Collection[str]]
) -> dict[str, Any]:
    """Return what a value may be: what its model takes, or an interpolation."""
    notes = {note: plain[note] for note in _NOTES if note in plain}
    rest = {part: value for part, value in plain.items() if part not in (*_NOTES, "title")}
    if key in names:
        own = [{"type": "string", "pattern": "\\."}]
        if key == OBJECTIVE:  # a function, or a command
            own = [{"type": "string", "pattern": ":"}, {"type": "object"}]
        rest = {"anyOf": [{"enum": sorted(names[key])}, *own]}
    if key in _PATTERNS:
        rest["pattern"] = _PATTERNS[key]
    ways = [_tidy(way) for way in rest.get("anyOf", [rest])]
    if OneOrMany in info.metadata:
        ways = [ways[0]["items"], *ways]
    if fields.is_open(info):
        ways.append(_NULL)  # a heading with nothing under it
    if ways == [_tidy({"type": "string"})] or key in _PATTERNS:
        return {**notes, **ways[0]}
    return {**notes, "anyOf": [*ways, _INTERPOLATION]}


def _tidy(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return one way of a value without titles; items of a list may be interpolations too."""
    kept = {part: value for part, value in schema.items() if part != "title"}
    if kept.get("type") == "array":
        if "minLength" in kept:  # what pydantic makes of a list that passes a validator first
            kept["minItems"] = kept.pop("minLength")
        kept["items"] = {"anyOf": [_tidy(kept["items"]), _INTERPOLATION]}
    return kept


# -- the search space ----------------------------------------------------------------------------


def _space(defs: dict[str, Any], layout: Layout) -> dict[str, Any]:
    """Return `params_to_tune`: every value that can be searched, dotted or nested."""
    dotted: dict[str, Any] = {}
    nested: dict[str, Any] = {}
    for key, info in layout.tunable.items():
        if fields.base_type(info) not in (int, float, bool, str) and not _is_choice(info):
            continue  # a list cannot be proposed
        section, _, name = key.partition(".")
        defs[f"search.{key}"] = _parameter(key, info)
        ref = {"$ref": f"#/$defs/search.{key}"}
        dotted[key] = ref
        nested.setdefault(section, {})[name] = ref
    sections = {
        name: {"anyOf": [_closed(parameters), _NULL]} for name, parameters in nested.items()
    }
    said = "what is searched, by key: model.hidden, or hidden below model"
    space = _closed({**dotted, **sections})
    if layout.is_open:
        space["additionalProperties"] = True
    return {"description": said, "anyOf": [space, _NULL]}


def _is_choice(info: FieldInfo) -> bool:
    """Return whether a field has a fixed list of texts."""
    return "Literal" in str(fields.base_type(info))


def _parameter(key: str, info: FieldInfo) -> dict[str, Any]:
    """Return what may be searched for one value; all that it proposes must be valid for it."""
    value = _reference(key)
    ways = []
    for kind in fields.spec_types(info):
        bounds = ("low", "high", *fields.SPEC_SYNONYMS)
        proposed = dict.fromkeys(bounds, value)
        if kind == "categorical":
            proposed = {"choices": {"anyOf": [{"type": "array", "items": value}, _INTERPOLATION]}}
        ref = {"$ref": f"#/$defs/{kind.title()}Parameter"}
        ways.append({"allOf": [ref, {"properties": proposed}]})
    return {"description": f"search of {key}: {info.description}", "anyOf": ways}


def _spec(kind: str) -> dict[str, Any]:
    """Return one type of parameter, its `low` and `high` also by their other names."""
    plain = _SPECS[kind].model_json_schema()["properties"]
    properties: dict[str, Any] = {}
    for name, part in plain.items():
        rest = {k: v for k, v in part.items() if k not in ("title", "default")}
        ways = [_tidy(way) for way in rest.get("anyOf", [rest])]
        said = {"description": _PART_NOTES[name]} if name in _PART_NOTES else {}
        properties[name] = {**said, "anyOf": [*ways, _INTERPOLATION]}
    properties["when"] = {"description": _PART_NOTES["when"], "$ref": "#/$defs/When"}
    needed: list[dict[str, Any]] = [{"required": ["choices"]}]
    if kind != "categorical":
        for other, name in fields.SPEC_SYNONYMS.items():
            properties[other] = properties[name]
        needed = [
            {"oneOf": [{"required": [name]}, {"required": [other]}]}
            for other, name in fields.SPEC_SYNONYMS.items()
        ]
    return {**_closed(properties), "allOf": needed}


def _when(layout: Layout) -> dict[str, Any]:
    """Return conditions: parameters, dotted or nested, and the value or values that each has."""
    wanted = {"$ref": "#/$defs/Wanted"}
    nested: dict[str, dict[str, Any]] = {}
    for key in layout.tunable:
        section, _, name = key.partition(".")
        nested.setdefault(section, {})[name] = wanted
    dotted = dict.fromkeys(layout.tunable, wanted)
    sections = {name: _closed(inner) for name, inner in nested.items()}
    when = _closed({**dotted, **sections})
    if layout.is_open:
        when["additionalProperties"] = True
    return {"anyOf": [when, _NULL]}


def _base(run: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """Return `base_params`: all that `params.yaml` may have, also dotted."""
    base = _closed({**run, **{key: _reference(key) for key in layout.tunable}})
    if layout.is_open:
        base["additionalProperties"] = True
    return base


def _place(section: str) -> str:
    """Return where in the definitions a section is: `data_split` → `DataSplit`."""
    return section.title().replace(".", "").replace("_", "")


def _reference(key: str) -> dict[str, Any]:
    section, _, name = key.partition(".")
    return {"$ref": f"#/$defs/{_place(section)}/properties/{name}"}


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}
