from __future__ import annotations

from itertools import product
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.errors import PatternError, PolicyError
from policy.patterns import check_login_pattern, is_login, login_pattern, matches, some_login

EVERY_SHORT_LOGIN = [
    text
    for size in range(1, 6)
    for letters in product("abc-", repeat=size)
    if is_login(text := "".join(letters))
]


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("web-*", "web-1", True),
        ("web-*", "web-", True),
        ("web-?", "web-12", False),
        ("web-1", "WEB-1", False),
        ("web", "web-1", False),
        ("*", "", True),
        ("?", "", False),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("[!a]*", "b", False),
        ("a.c", "abc", False),
        ("a*", "a\nb", True),
        ("a", "a\n", False),
        ("\\*", "*", False),
    ],
)
def test_star_and_question_mark_are_the_only_wildcards(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


@pytest.mark.parametrize("text", ["", "-l", ".ssh", "a b", "a\n", "a*", "ä", "a" * 65, "a;b", "a/b"])
def test_what_a_shell_or_a_log_could_misread_is_no_login(text: str) -> None:
    assert not is_login(text)


@pytest.mark.parametrize("text", ["root", "_apt", "www-data", "A1.b_c", "1", "a" * 64])
def test_what_unix_systems_use_is_a_login(text: str) -> None:
    assert is_login(text)


@pytest.mark.parametrize("pattern", ["", "{group}", "{user", "a b", "ro[o]t", "a{user}}"])
def test_a_login_pattern_that_can_match_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError) as refused:
        check_login_pattern(pattern)
    assert isinstance(refused.value, PolicyError)
    assert refused.value.message


def test_the_user_stands_in_a_login_pattern_by_name() -> None:
    assert login_pattern("adm-{user}-*", "alice") == "adm-alice-*"


@pytest.mark.parametrize("user", ["", "*", "a?", "alice@example.com", "a b", "{user}"])
def test_a_user_name_is_never_read_as_a_pattern(user: str) -> None:
    """An IdP that lets people choose `*` for a name gives them no other people's logins."""
    assert login_pattern("{user}", user) is None
    assert login_pattern("{user}*", user) is None
    assert login_pattern("deploy", user) == "deploy"


@given(
    st.text("ab*?-", min_size=1, max_size=5),
    st.lists(st.text("ab*?-", min_size=1, max_size=5), max_size=4),
)
def test_some_login_finds_a_login_exactly_when_there_is_one(pattern: str, denied: list[str]) -> None:
    found = some_login(pattern, tuple(denied))
    fitting = (
        login
        for login in EVERY_SHORT_LOGIN
        if matches(pattern, login) and not any(matches(deny, login) for deny in denied)
    )
    if found is None:
        assert next(fitting, None) is None
    else:
        assert is_login(found)
        assert matches(pattern, found)
        assert not any(matches(deny, found) for deny in denied)


@pytest.mark.parametrize(
    ("pattern", "denied", "is_left"),
    [
        ("*", ["root"], True),
        ("*", ["*"], False),
        ("adm-*", ["adm*"], False),
        ("adm*", ["adm-*"], True),
        ("a?", ["a*"], False),
        ("*", ["?*"], False),
        ("*", ["?", "??*"], False),
        ("-*", [], False),
        ("*", [f"*{letter}*" for letter in "abcdefghijklmnopqrstuvwxyz"], True),
        ("??", [f"?{char}" for char in f"{ascii_letters}{digits}_"], True),
        ("?" * 64, ["a*"], True),
        ("?" * 65, [], False),
    ],
)
def test_denies_may_leave_nothing_of_a_pattern(pattern: str, denied: list[str], is_left: bool) -> None:
    assert (some_login(pattern, tuple(denied)) is not None) is is_left
