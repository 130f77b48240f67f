"""bastion.toml.example, made of the model: every setting with its description, its default or an example.

`python -m bastion.config.example` prints it; a test compares it with the file in the repository, so a setting
cannot be added without being explained.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bastion.config.model import Config
from bastion.config.shape import sections_in
from bastion.config.write import literal

_WIDTH = 100

_HEAD = """\
# The configuration of a bastion. Copy this to /etc/bastion/bastion.toml, or let bastion init write
# a short one.
#
# A line that begins with # and a blank explains. A line that begins with # alone is a setting with
# its default; take the # away to change it. (required) and (example) mark settings without a
# default. Targets may also stand in files of their own, targets.d/*.toml beside this file. Relative
# paths count from the folder of the file they stand in.
#
# bastion check tells all that is wrong with a configuration, and what to do about it.
"""


def example() -> str:
    """The text of bastion.toml.example."""
    return "\n".join([_HEAD, *_settings(Config)]).rstrip("\n") + "\n"


def _settings(model: type[BaseModel], section: str = "") -> Iterator[str]:
    """Plain settings first: in TOML whatever follows a [section] belongs to it."""
    defaults = model.model_construct().model_dump(mode="json")  # durations and paths as they are written
    parts = {
        name: found for name, field in model.model_fields.items() if (found := sections_in(field.annotation))
    }
    for name, field in model.model_fields.items():
        if name not in parts:
            yield from _setting(name, field, defaults.get(name))
    for name, kinds in parts.items():
        field = model.model_fields[name]
        path = f"{section}.{name}" if section else name
        for part in kinds:
            if all(sections_in(inner.annotation) for inner in part.model_fields.values()):
                yield from _settings(part, path)  # it holds nothing but sections, so it needs no header
                continue
            yield from _wrapped(_summary(part) if len(kinds) > 1 else field.description or "")
            if isinstance(field.annotation, type):
                yield f"[{path}]"
            else:
                yield f"#[[{path}]]" if field.default is not None else f"#[{path}]"
            yield from _settings(part, path)


def _summary(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").partition("\n")[0]


def _setting(name: str, field: FieldInfo, default: object) -> Iterator[str]:
    is_example = default in (None, "", [], {}) and bool(field.examples)
    note = " (required)" if field.is_required() else " (example)" if is_example else ""
    yield from _wrapped((field.description or "") + note)
    yield f"#{name} = {literal(field.examples[0] if is_example and field.examples else default)}"
    yield ""


def _wrapped(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")


if __name__ == "__main__":
    sys.stdout.write(example())
