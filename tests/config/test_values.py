from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from bastion.config import values
from policy.durations import format_duration, parse_duration


@given(st.integers(0, 10**9))
def test_a_duration_is_read_back_as_it_was_written(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("2d", 172800), ("0s", 0)])
def test_durations_are_numbers_with_units(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", ["", "5", "5 m", "m", "-5m", "1.5h", "5M", "٣m", 5, None, "99999999d"])
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"duration|longer"):
        parse_duration(value)


def refusal(kind: Any, value: object) -> str:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(kind).validate_python(value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("web-1:22", "in 'port'"),
        ("[::1]:22", "without brackets"),
        ("root@web-1", "login"),
        ("-oProxyCommand=x", "host name"),
        ("a b", "host name"),
        ("", "host name"),
    ],
)
def test_an_address_is_nothing_but_a_host(value: str, words: str) -> None:
    assert words in refusal(values.Address, value)


@pytest.mark.parametrize("value", ["web-1", "web_1.internal.", "192.0.2.1", "2001:db8::1", "fe80::1%eth0"])
def test_hosts_have_names_or_addresses(value: str) -> None:
    assert TypeAdapter(values.Address).validate_python(value) == value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("http://login.example.com", "use https"),
        ("login.example.com", "whole URL"),
        ("https://", "whole URL"),
        ("https://a.example/?x=1", "no query"),
        ("https://u:p@a.example/", "user name"),
        ("https://a.example:x/", "not a URL"),
        ("http://localhost.example.com", "use https"),
    ],
)
def test_an_issuer_is_an_https_url(value: str, words: str) -> None:
    assert words in refusal(values.IssuerUrl, value)


@pytest.mark.parametrize(
    "value",
    ["https://a.example", "https://a.example/realms/x/", "http://localhost:9400", "http://[::1]:9400"],
)
def test_only_on_this_machine_may_an_issuer_speak_http(value: str) -> None:
    assert TypeAdapter(values.IssuerUrl).validate_python(value) == value


def test_a_tilde_is_not_taken_for_a_folder() -> None:
    assert "'~' is not expanded" in refusal(values.File, Path("~/keys"))


def test_numbers_and_switches_are_not_guessed_from_text() -> None:
    assert refusal(values.Port, "22")
    assert refusal(values.Port, True)
    assert refusal(values.Switch, "yes")


def test_a_network_must_not_have_host_bits() -> None:
    assert "10.0.0.1/8 has host bits set" in refusal(values.Network, "10.0.0.1/8")


AGE = "age1ujzyd9af62ns87u75c8vqzlxx66krzlxjepmm29t4s59pjvy83uspagdjh"
SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOg7klRBCQK2ccQwM864ffQ8eRT0upoLiarQ94xuu8HB"


@pytest.mark.parametrize("value", [AGE, f" {AGE} ", SSH, f"{SSH} carol at home"])
def test_recordings_are_encrypted_to_keys_of_age_and_ssh(value: str) -> None:
    assert TypeAdapter(values.Recipient).validate_python(value) in (AGE, SSH)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "one public key"),
        (f"{AGE} {SSH}", "each in quotes of its own"),
        (f"{SSH}\n{SSH}", "each in quotes of its own"),
        (AGE[:-1] + "x", "not a public key"),
        ("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t", "not a public key"),
        ("ssh-ed25519 AAAA", "not a public key"),
        ("ecdsa-sha2-nistp256 AAAA", "age knows no others"),
        ("alice@example.com", "age knows no others"),
        ("AGE-SECRET-KEY-1QQQQ", "treat this one as lost"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "treat this one as lost"),
    ],
)
def test_what_nothing_can_be_encrypted_to_is_refused(value: str, words: str) -> None:
    assert words in refusal(values.Recipient, value)
