from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from bastion.config.load import examine
from bastion.config.model import Config
from bastion.config.section import Section
from bastion.config.shape import sections_in, shape

FILE = Path("x.toml")


class Inner(Section):
    needed: int
    other: int = 0


class Outer(Section):
    inner: Inner | None = None
    rows: tuple[Inner, ...] = ()


def test_a_section_that_lacks_what_it_needs_is_left_out_whole() -> None:
    shaped = shape(Outer, {"inner": {"other": 1}, "rows": [{"needed": 1}]}, FILE)
    assert [(problem.path, problem.message) for problem in shaped.problems] == [
        ("inner.needed", "is missing")
    ]
    assert shaped.model == Outer(rows=(Inner(needed=1),))


def test_elements_keep_their_numbers_when_others_are_left_out_in_several_rounds() -> None:
    rows: list[dict[str, Any]] = [{"needed": "x"}, {"needed": 1}, {"neded": 1}, {"needed": 2, "odd": 1}]
    shaped = shape(Outer, {"rows": rows}, FILE)
    assert [problem.path for problem in shaped.problems] == [
        "rows[0].needed",
        "rows[2].needed",
        "rows[2].neded",
        "rows[3].odd",
    ]
    assert shaped.places("rows", count=2) == ["rows[1]", "rows[3]"]


def test_the_data_given_is_not_changed() -> None:
    data = {"rows": [{"needed": "x"}]}
    shape(Outer, data, FILE)
    assert data == {"rows": [{"needed": "x"}]}


def _names(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        for part in sections_in(field.annotation):
            yield from _names(part)


keys = st.sampled_from(sorted(set(_names(Config)))) | st.text(max_size=3)
scalars = (
    st.booleans()
    | st.integers(-1, 70000)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["8h", "*", "{user}", "a", "127.0.0.1", "https://a.example", "ssh", "shell"])
)
tables = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=12,
)


elements = st.lists(st.dictionaries(keys, scalars | st.lists(scalars, max_size=2), max_size=6), max_size=3)
lists = st.fixed_dictionaries(
    {},
    optional={
        "targets": elements,
        "issuers": elements,
        "policy": st.fixed_dictionaries({}, optional={"rules": elements, "auditors": elements}),
        "development_issuer": st.fixed_dictionaries({}, optional={"people": elements}),
    },
)
documents = st.dictionaries(keys, tables, max_size=5) | lists


@given(documents, documents)
def test_no_toml_at_all_ends_in_anything_but_problems_or_a_configuration(
    main: dict[str, Any], beside: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bastion.toml"
        (file.parent / "targets.d").mkdir()
        file.write_text(tomli_w.dumps(main))
        (file.parent / "targets.d" / "a.toml").write_text(tomli_w.dumps(beside))
        examination = examine(file)
    assert (examination.config is None) is bool(examination.errors)
    for problem in examination.problems:
        assert problem.message
        assert problem.line.isprintable()
