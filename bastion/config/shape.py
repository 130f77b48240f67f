"""TOML data into a model, with every error in words for people and its place in the file.

Data with errors is not given up: the broken settings are left out and the rest is read, so that what spans several
sections can be checked in the same run. Knows pydantic's errors; knows neither files nor what settings mean.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bastion.config.problem import Problem, dotted, harmless, shown

Location = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaped(Generic[M]):
    """A model of the sound part of some data. *kept* tells which elements of a list are left: their old indexes."""

    model: M
    problems: tuple[Problem, ...]
    kept: Mapping[Location, list[int]] = field(default_factory=dict)

    def places(self, *location: str, count: int) -> list[str]:
        """Where each of the *count* elements of the list at *location* stands in the file."""
        return [dotted((*location, index)) for index in self.kept.get(location, range(count))]


def shape(model: type[M], data: dict[str, Any], file: Path) -> Shaped[M]:
    """Read *data* as *model*, leaving out what is wrong, with a problem for each."""
    data = copy.deepcopy(data)
    problems: list[Problem] = []
    kept: dict[Location, list[int]] = {}
    while True:
        try:
            return Shaped(model=model.model_validate(data), problems=tuple(problems), kept=kept)
        except ValidationError as invalid:
            errors = invalid.errors(include_url=False)
        problems += [_problem(model, error, _original(error["loc"], kept), file) for error in errors]
        broken = {_part_to_drop(error, _place(model, error["loc"])[0]) for error in errors}
        for location in sorted(broken, key=lambda loc: [str(part).zfill(9) for part in loc], reverse=True):
            _drop(data, location, kept)


def _original(location: Location, kept: Mapping[Location, list[int]]) -> Location:
    for depth, part in enumerate(location):
        if isinstance(part, int):
            indexes = kept.get(location[:depth])
            return (*location[:depth], indexes[part], *location[depth + 1 :]) if indexes else location
    return location


def _part_to_drop(error: ErrorDetails, location: Location) -> Location:
    """An unknown key alone; else the whole target, rule or issuer it is in; else the setting alone."""
    if error["type"] == "extra_forbidden":
        return location
    for depth, part in enumerate(location):
        if isinstance(part, int):
            return location[: depth + 1]
    return location[:-1] if error["type"] == "missing" else location


def _drop(data: Any, location: Location, kept: dict[Location, list[int]]) -> None:
    *parents, last = location
    for part in parents:
        data = data[part]
    if isinstance(last, int):
        indexes = kept.setdefault(tuple(parents), list(range(len(data))))
        del indexes[last]
    del data[last]


def _problem(model: type[BaseModel], error: ErrorDetails, location: Location, file: Path) -> Problem:
    message, hint = _words(model, error, location)
    known = error["type"] not in ("extra_forbidden", "missing")
    return Problem(
        severity="error",
        file=file,
        path=dotted(_place(model, location)[0]),
        message=message,
        hint=hint,
        value=harmless(error["input"]) if known else None,
    )


_WORDS = {
    "string_type": ("must be text", "Write it in quotes."),
    "path_type": ("must be text", "Write it in quotes."),
    "bool_type": ("must be true or false", "Write it without quotes."),
    "int_type": ("must be a whole number", "Write it without quotes."),
    "string_too_short": ("must not be empty", ""),
    "too_short": ("must not be empty", ""),
}


def _words(model: type[BaseModel], error: ErrorDetails, location: Location) -> tuple[str, str]:
    """What is wrong, and what to do."""
    context, place = error.get("ctx", {}), dotted(_place(model, location)[0])
    match error["type"]:
        case "extra_forbidden":
            return "there is no such setting", _instead(model, location)
        case "missing":
            return "is missing", _description(model, location)
        case "value_error":
            return str(context["error"]), ""
        case "literal_error":
            return f"must be {context['expected']}", ""
        case "union_tag_invalid":
            return f"the kind {shown(str(context['tag']))} is none of {context['expected_tags']}", ""
        case "greater_than_equal" | "less_than_equal" as kind:
            return (
                f"must be at least {context['ge']}" if kind[0] == "g" else f"must be at most {context['le']}"
            ), ""
        case "tuple_type":
            is_table = isinstance(error["input"], dict)
            hint = f"Write [[{place}]], with two brackets." if is_table else "Write it in brackets: [ … ]."
            return "must be a list", hint
        case "model_type" | "dict_type" | "union_tag_not_found":
            return "must be a section with settings of its own", f"Write [{place}] above them."
        case kind:
            return _WORDS.get(kind) or (error["msg"][:1].lower() + error["msg"][1:], "")


def _instead(model: type[BaseModel], location: Location) -> str:
    """What somebody who wrote an unknown key may have meant."""
    *parents, key = location
    _, section = _place(model, tuple(parents))
    if section is None:
        return ""
    if close := get_close_matches(str(key), section.model_fields, n=1, cutoff=0.6):
        return f"Did you mean {close[0]}?"
    if parents and key in model.model_fields:
        return f"{key} is a setting of the whole file: write it above the first [section]."
    for name, inner in _sections(model):
        if key in inner.model_fields:
            return f"{key} is a setting of {name}."
    return f"Known here: {', '.join(section.model_fields)}."


def _description(model: type[BaseModel], location: Location) -> str:
    """What a missing setting is for, with an example of it."""
    *parents, key = location
    _, section = _place(model, tuple(parents))
    if section is None or not isinstance(key, str):
        return ""
    setting = section.model_fields[key]
    example = f" For example: {key} = {shown(str(setting.examples[0]))}" if setting.examples else ""
    return f"{setting.description or ''}{example}"


def _sections(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, setting in model.model_fields.items():
        for inner in sections_in(setting.annotation):
            yield (f"[{name}]" if inner is setting.annotation else f"[[{name}]]"), inner


def _place(model: type[BaseModel], location: Location) -> tuple[Location, type[BaseModel] | None]:
    """*location* as it is in the file, without pydantic's tags of unions, and the section there.

    The section is None where a plain table (labels) stands, or a union whose kind is not known.
    """
    path: list[str | int] = []
    found: list[type[BaseModel]] = [model]
    for part in location:
        if isinstance(part, int):
            path.append(part)
        elif len(found) > 1:
            found = [section for section in found if kind_of(section) == part]
        else:
            path.append(part)
            setting = found[0].model_fields.get(part) if found else None
            found = sections_in(setting.annotation) if setting is not None else []
    return tuple(path), found[0] if len(found) == 1 else None


def kind_of(section: type[BaseModel]) -> str:
    """The word that tells *section* from the others of its union."""
    return str(get_args(section.model_fields["kind"].annotation)[0])


def sections_in(annotation: object) -> list[type[BaseModel]]:
    """The sections in an annotation such as `Server`, `tuple[Issuer, ...]`, `DevelopmentIssuer | None` or a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [inner for arg in get_args(annotation) for inner in sections_in(arg)]
