"""Whatever is done to a recording without the key shows, and the verdict names the line where that can be known."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest

from recorder.chain import Chain, decode_tags
from recorder.errors import FormatError
from recorder.events import Event, Exited, Input, Output
from recorder.examine import examine
from recorder.lines import decode_line
from recorder.statements import Account, Checkpoint, Seal, sign
from recorder.verify import verify_file
from tests.recorder.casts import ID, KEY, OTHER_KEY, STARTED, cast, verify
from tests.recorder.vectors import SHELL

BATCHES: list[list[Event]] = [[Input(b"k"), Output(f"line {n}\r\n".encode())] for n in range(100)]
LINES = cast([*BATCHES, [Exited(0)]], checkpoints=[40, 80])
EVENT_LINES = [n for n, line in enumerate(LINES, 1) if n > 1 and decode_line(n, line).code in "oif"]
TAG_LINES = [n for n, line in enumerate(LINES, 1) if n > 1 and decode_line(n, line).code == "h"]
SIGNED_LINES = [n for n, line in enumerate(LINES, 1) if n > 1 and decode_line(n, line).code in "ks"]


def number_of(code: str, lines: list[bytes]) -> int:
    return next(n for n, line in enumerate(lines, 1) if n > 1 and decode_line(n, line).code == code)


def with_new_chain(lines: list[bytes]) -> list[bytes]:
    """*lines* as somebody makes them who has no key: every tag and every chain value computed anew."""
    chain = Chain()
    made = []
    for number, line in enumerate(lines, 1):
        parsed = decode_line(number, line) if number > 1 else None
        if parsed and parsed.code == "h":
            line = line[: line.index(b'"h"')] + b'"h","' + chain.take_tags().encode() + b'"]\n'
        elif parsed and parsed.code in "ks":
            signature, _, text = parsed.data.partition(" ")
            statement = json.loads(text) | {"lines": chain.lines, "chain": chain.value.hex()}
            if statement != json.loads(text):
                line = (
                    json.dumps([parsed.time, parsed.code, f"{signature} {json.dumps(statement)}"]).encode()
                    + b"\n"
                )
        chain.add(line)
        made.append(line)
    return made


def test_a_recording_nobody_touched_is_sealed() -> None:
    verdict = verify(LINES)
    assert verdict.is_intact
    assert (verdict.state, verdict.lines, verdict.id) == ("sealed", len(LINES), ID)
    assert verdict.seal is not None
    assert (verdict.seal.session.ending, verdict.seal.session.exit_status) == ("exited", 0)
    assert (verdict.seal.session.output_bytes, verdict.seal.session.input_bytes) == (890, 100)


def test_any_bit_that_is_changed_shows() -> None:
    """Every bit of the last line, for which no later one vouches, and some of the others."""
    lines = cast(SHELL, checkpoints=[3])
    whole = b"".join(lines)
    keys = {KEY.verify_key.id: KEY.verify_key}
    last = (len(whole) - len(lines[-1])) * 8
    for at in (*range(0, last, 13), *range(last, len(whole) * 8)):
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << at % 8
        found = examine(io.BytesIO(changed), keys)
        assert found.fault is not None or found.unknown_keys or found.seal is None, (at // 8, at % 8)


@pytest.mark.parametrize("number", [1, *EVENT_LINES[::7], EVENT_LINES[-1]])
def test_a_changed_line_is_named(number: int) -> None:
    lines = list(LINES)
    lines[number - 1] = lines[number - 1].replace(b"e", b"E", 1).replace(b'"k"]', b'"K"]')
    assert lines != LINES
    verdict = verify(lines)
    assert (verdict.state, verdict.first, verdict.last) == ("changed", number, number)
    assert not verdict.is_intact


@pytest.mark.parametrize("number", EVENT_LINES[::7])
def test_a_dropped_line_is_named(number: int) -> None:
    verdict = verify(LINES[: number - 1] + LINES[number:])
    assert (verdict.state, verdict.first, verdict.last) == ("changed", number, number)


@pytest.mark.parametrize("number", EVENT_LINES[::7])
def test_an_inserted_line_is_named(number: int) -> None:
    verdict = verify([*LINES[: number - 1], b'[0.100000,"o","forged"]\n', *LINES[number - 1 :]])
    assert (verdict.state, verdict.first, verdict.last) == ("changed", number, number)


@pytest.mark.parametrize("number", EVENT_LINES[3:-1:7])
def test_the_first_of_two_swapped_lines_is_named(number: int) -> None:
    lines = list(LINES)
    lines[number - 1], lines[number] = lines[number], lines[number - 1]
    verdict = verify(lines)
    assert verdict.state == "changed"
    assert verdict.first in (number, number + 1)  # the second, where a tag line was one of the two


@pytest.mark.parametrize("number", EVENT_LINES[::7])
def test_a_line_that_is_no_json_any_more_is_named(number: int) -> None:
    lines = list(LINES)
    lines[number - 1] = b"\xff\x00 rubbish\n"
    verdict = verify(lines)
    assert (verdict.state, verdict.first) == ("changed", number)


@pytest.mark.parametrize("number", TAG_LINES)
def test_a_changed_tag_is_not_blamed_on_the_line_it_is_about(number: int) -> None:
    lines = list(LINES)
    parsed = decode_line(number, lines[number - 1])
    first, tags = decode_tags(parsed.data, number)
    tags[0] = bytes(3)
    lines[number - 1] = lines[number - 1].replace(
        parsed.data.encode(), f"{first} {base64.b64encode(b''.join(tags)).decode()}".encode()
    )
    verdict = verify(lines)
    assert (verdict.state, verdict.first) == ("changed", number if len(tags) > 1 else first)


@pytest.mark.parametrize("number", TAG_LINES)
def test_a_dropped_tag_line_shows(number: int) -> None:
    verdict = verify(LINES[: number - 1] + LINES[number:])
    assert verdict.state == "changed"
    assert verdict.first is not None and verdict.last is not None
    assert verdict.first <= number <= verdict.last


@pytest.mark.parametrize("number", SIGNED_LINES)
def test_a_changed_signature_shows(number: int) -> None:
    lines = list(LINES)
    data = decode_line(number, lines[number - 1]).data
    forged = base64.b64encode(bytes(64)).decode() + data[88:]
    lines[number - 1] = lines[number - 1].replace(data[:88].encode(), forged[:88].encode())
    verdict = verify(lines)
    assert verdict.state == "changed"
    assert verdict.first is not None and verdict.last is not None
    assert verdict.first <= number <= verdict.last


def test_a_dropped_checkpoint_shows() -> None:
    number = SIGNED_LINES[1]
    verdict = verify(LINES[: number - 1] + LINES[number:])
    assert (verdict.state, verdict.first) == ("changed", number)


@pytest.mark.parametrize("number", EVENT_LINES[::7])
def test_a_chain_computed_anew_fails_at_the_next_signature(number: int) -> None:
    lines = list(LINES)
    lines[number - 1] = (
        lines[number - 1].replace(b"line", b"lime").replace(b'"k"]', b'"K"]').replace(b"exit", b"exot")
    )
    verdict = verify(with_new_chain(lines))
    after = next(signed for signed in SIGNED_LINES if signed > number)
    before = max((signed for signed in SIGNED_LINES if signed < number), default=0)
    assert (verdict.state, verdict.first, verdict.last) == ("changed", before, after)
    assert verdict.signed_lines == before - 1


def test_a_line_dropped_with_the_chain_computed_anew_fails_too() -> None:
    number = EVENT_LINES[20]
    assert verify(with_new_chain(LINES[: number - 1] + LINES[number:])).state == "changed"


@pytest.mark.parametrize("kept", [1, 3, 10, SIGNED_LINES[1], len(LINES) - 2, len(LINES) - 1])
def test_a_cut_tail_is_told_from_a_sealed_end(kept: int) -> None:
    verdict = verify(LINES[:kept])
    assert (verdict.state, verdict.first) == ("unsealed", None)
    assert not verdict.is_intact
    assert verdict.signed_lines == max((n - 1 for n in SIGNED_LINES if n <= kept), default=0)
    assert "end is missing" in verdict.reason


def test_a_tail_cut_within_a_line_is_a_cut_tail() -> None:
    assert verify([*LINES[:-1], LINES[-1][:-1]]).state == "unsealed"
    assert verify([*LINES[:50], LINES[50][:9]]).state == "unsealed"


def test_a_line_after_the_seal_is_named() -> None:
    verdict = verify([*LINES, b'[20.000000,"o","more"]\n'])
    assert (verdict.state, verdict.first) == ("changed", len(LINES) + 1)


def test_a_recording_made_with_another_key_is_not_trusted() -> None:
    """Forging everything needs a key, and a key the auditor does not have in hand proves nothing."""
    verdict = verify(cast(BATCHES, key=OTHER_KEY))
    assert verdict.state == "unknown key"
    assert OTHER_KEY.id in verdict.reason


def test_a_recording_under_another_key_that_names_ours_is_forged() -> None:
    lines = [line.replace(OTHER_KEY.id.encode(), KEY.id.encode()) for line in cast(BATCHES, key=OTHER_KEY)]
    assert verify(with_new_chain(lines)).state == "changed"


def test_a_retired_key_among_those_given_verifies() -> None:
    assert verify(cast(BATCHES, key=OTHER_KEY), KEY, OTHER_KEY).is_intact


def test_without_any_key_a_change_still_shows() -> None:
    lines = list(LINES)
    lines[30] = lines[30].replace(b"line", b"lime").replace(b'"k"]', b'"K"]')
    assert verify(lines, OTHER_KEY).first == 31


def test_a_seal_of_another_recording_does_not_fit() -> None:
    """A signed statement is about one recording, though the same key signs them all."""
    chain = Chain()
    for line in LINES[:-1]:
        chain.add(line)
    account = Account(
        ending="exited", exit_status=0, started_at=STARTED, ended_at=STARTED, duration=0,
        output_bytes=0, error_bytes=0, input_bytes=0,
    )  # fmt: skip
    other = Seal(id="261124-0000000", lines=chain.lines, chain=chain.value.hex(), key=KEY.id, session=account)
    data = json.dumps(sign(other, KEY))
    verdict = verify([*LINES[:-1], f'[10.100000,"s",{data}]\n'.encode()])
    assert (verdict.state, verdict.first) == ("changed", len(LINES))


def test_a_checkpoint_cannot_stand_as_a_seal() -> None:
    lines = cast(BATCHES[:3], checkpoints=[2], is_sealed=False)
    assert decode_line(len(lines), lines[-1]).code == "k"
    lines[-1] = lines[-1].replace(b'"k"', b'"s"')
    assert verify(lines).state == "changed"


def test_a_seal_signed_as_a_checkpoint_is_refused() -> None:
    """The two kinds of statement are signed in domains of their own."""
    chain = Chain()
    for line in LINES[:-1]:
        chain.add(line)
    text = decode_line(len(LINES), LINES[-1]).data.partition(" ")[2]
    signature = sign(
        Checkpoint(id=ID, lines=chain.lines, chain=chain.value.hex(), key=KEY.id), KEY
    ).partition(" ")[0]
    forged = json.dumps(f"{signature} {text}")
    assert verify([*LINES[:-1], f'[10.100000,"s",{forged}]\n'.encode()]).state == "changed"


@pytest.mark.parametrize(
    "content", [b"", b"hello\n", b"\x00" * 5000, b'{"version":2,"width":80,"height":24}\n[0,"o","x"]\n']
)
def test_what_is_no_recording_of_ours_is_called_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.cast"
    path.write_bytes(content)
    assert verify_file(path, [KEY.verify_key]).state == "not a recording"


def test_a_recording_without_its_header_is_changed() -> None:
    assert verify(LINES[1:]).state == "changed"


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        verify_file(tmp_path / "none.cast", [KEY.verify_key])


def test_a_line_without_end_does_not_eat_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.cast"
    path.write_bytes(b"".join(LINES[:5]) + b'[1.000000,"o","' + b"x" * 5_000_000)
    verdict = verify_file(path, [KEY.verify_key])
    assert (verdict.state, verdict.first) == ("changed", 6)
