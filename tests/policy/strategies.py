"""Small random policies, over so few names that rules, people and targets often meet."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from policy.decide import Subject, TargetFacts
from policy.rules import ACTIONS, Action, Rule

login_patterns = st.one_of(
    st.text("ab*?-", min_size=1, max_size=4), st.sampled_from(["{user}", "{user}*", "a{user}"])
)
some_logins = st.text("abc-", min_size=1, max_size=5)
actions: st.SearchStrategy[Action] = st.sampled_from(ACTIONS)
subjects = st.builds(
    Subject,
    user=st.sampled_from(["a", "b", "ab", "a*", ""]),
    groups=st.lists(st.sampled_from(["g", "h"]), unique=True).map(tuple),
)
targets = st.builds(
    TargetFacts,
    name=st.sampled_from(["w1", "w2", "d1"]),
    labels=st.dictionaries(st.sampled_from(["env", "role"]), st.sampled_from(["p", "s"])),
)


def _tuples(values: list[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), max_size=2, unique=True).map(tuple)


def _rule(actions: tuple[Action, ...], **settings: Any) -> Rule:
    ends: dict[str, Any] = {word: ("*:*",) for word in ("forward", "listen") if word in actions}
    if settings["effect"] == "deny":
        ends = {}
    return Rule(actions=actions, **ends, **settings)


def rules(effect: str) -> st.SearchStrategy[Rule]:
    return st.builds(
        _rule,
        name=st.sampled_from(["SECRET-1", "SECRET-2", "SECRET-3"]),
        effect=st.just(effect),
        groups=_tuples(["g", "h", "*", "x?"]),
        users=_tuples(["a", "b", "a*"]),
        targets=_tuples(["w*", "d1", "*", "w?", "z"]),
        labels=st.dictionaries(st.sampled_from(["env", "role"]), st.sampled_from(["p", "*"]), max_size=1),
        logins=st.lists(login_patterns, min_size=1, max_size=3).map(tuple),
        actions=st.lists(actions, min_size=1, max_size=3, unique=True).map(tuple),
    )


allows = rules("allow")
denies = rules("deny")
policies = st.lists(st.one_of(allows, denies), max_size=5)
