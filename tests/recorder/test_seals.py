"""The chain of seals: a recording that is missing shows, and so does whatever is done to the chain."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from recorder.catalog import recordings
from recorder.errors import FormatError
from recorder.events import Output
from recorder.header import Header
from recorder.inspection import Finding, inspect
from recorder.keys import SigningKey
from recorder.names import SessionId, place
from recorder.seals import FILE, SealLog, decode_entry
from recorder.seals_check import hold_against, read_chain
from recorder.store import Store
from tests.recorder.casts import KEY, OTHER_KEY, STARTED


@asynccontextmanager
async def _opened(folder: Path, key: SigningKey = KEY) -> AsyncIterator[Store]:
    store = await Store.open(folder, key=key, trusted=[KEY.verify_key], is_searchable=False)
    try:
        yield store
    finally:
        await store.close()


async def record(store: Store, number: int = 0) -> SessionId:
    recording = await store.begin(Header(started_at=STARTED + number, columns=80, rows=24, terminal="xterm"))
    await recording.append([Output(b"hello %d\r\n" % number)])
    await recording.seal("exited", 0)
    return recording.id


@pytest.fixture
async def sealed(folder: Path) -> list[SessionId]:
    """Five sealed recordings in `folder`, oldest first."""
    async with _opened(folder) as store:
        return [await record(store, number) for number in range(5)]


def verify_all(folder: Path, *keys: SigningKey) -> list[Finding]:
    trusted = [key.verify_key for key in keys or (KEY,)]
    findings = [inspect(path, trusted) for path in recordings(folder)]
    return hold_against(read_chain(folder, trusted), folder, findings)


def bad(folder: Path, *keys: SigningKey) -> dict[str, str]:
    """The names of what is not good, with state and reason."""
    return {one.name: f"{one.state}: {one.reason}" for one in verify_all(folder, *keys) if not one.is_good}


def path_of(folder: Path, session: SessionId) -> Path:
    return folder / place(session)


def test_each_sealed_recording_is_an_entry_in_the_order_of_the_seals(
    folder: Path, sealed: list[SessionId]
) -> None:
    entries = [decode_entry(line, 0).entry for line in SealLog(folder, is_durable=False).lines()]
    assert [(entry.number, entry.id) for entry in entries] == list(enumerate(sealed, 1))
    assert bad(folder) == {}
    assert (folder / FILE).stat().st_mode & 0o777 == 0o600


async def test_the_entry_is_there_when_the_end_is_told(folder: Path) -> None:
    async with _opened(folder) as store:
        session = await record(store)
        assert SealLog(folder, is_durable=False).known() == {session}


def test_a_deleted_recording_is_missing(folder: Path, sealed: list[SessionId]) -> None:
    path_of(folder, sealed[2]).unlink()
    found = bad(folder)
    assert list(found) == [sealed[2]]
    assert found[sealed[2]].startswith("missing: it was sealed (exited) and is in the chain as entry 3 of ")


def test_a_recording_whose_seal_was_cut_is_found_out(folder: Path, sealed: list[SessionId]) -> None:
    path = path_of(folder, sealed[1])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    assert "its end is missing" in bad(folder)[sealed[1]]


async def test_one_made_anew_with_the_key_is_not_the_one_that_was_sealed(
    folder: Path, sealed: list[SessionId], tmp_path: Path
) -> None:
    """Who has the key can forge a recording, but not the entry in a chain that others have seen."""
    wanted = sealed[0]

    def same_id(_: int) -> bytes:
        digits = ["0123456789abcdefghjkmnpqrstvwxyz".index(char) for char in wanted[-7:]]
        return sum(digit << 5 * at for at, digit in enumerate(digits)).to_bytes(5, "big")

    other = await Store.open(tmp_path / "other", key=KEY, random=same_id, is_searchable=False)
    try:
        assert await record(other, 0) == wanted
    finally:
        await other.close()
    forged = path_of(tmp_path / "other", wanted).read_bytes()
    path_of(folder, wanted).write_bytes(forged)
    assert "not the recording that was sealed as entry 1" in bad(folder)[wanted]


def test_a_recording_without_an_entry_is_told(folder: Path, sealed: list[SessionId]) -> None:
    log = folder / FILE
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    assert bad(folder)[sealed[-1]].startswith("not in the chain")


def test_a_chain_that_is_gone_is_told_once(folder: Path, sealed: list[SessionId]) -> None:
    (folder / FILE).unlink()
    assert list(bad(folder)) == [FILE]


def _drop(lines: list[bytes]) -> list[bytes]:
    return lines[:1] + lines[3:]


def _swap(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def _repeat(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[1], *lines[3:]]


def _edit(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"exited"', b'"killed"'), *lines[2:]]


def _sign_anew(lines: list[bytes]) -> list[bytes]:
    entry = decode_entry(lines[1], 0)
    signature, _, text = lines[1].partition(b" ")
    assert signature and entry.entry.id
    return [lines[0], b"AAAA " + text, *lines[2:]]


def _tear(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1][:40]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_drop, "line 2: entries 2 to 3 were dropped before that of"),
        (_swap, "line 2: entry 2 was dropped"),
        (_repeat, "line 4: entry 2, of .* stands where entry 4 should: moved or repeated"),
        (_edit, "line 2: the entry of .* was changed"),
        (_sign_anew, "line 2: the entry of .* was changed"),
        (_tear, "line 5: it does not end with a line feed"),
    ],
)
def test_whatever_is_done_to_the_chain_shows(
    folder: Path, sealed: list[SessionId], change: Callable[[list[bytes]], Sequence[bytes]], reason: str
) -> None:
    log = folder / FILE
    log.write_bytes(b"".join(change(log.read_bytes().splitlines(keepends=True))))
    assert FILE in bad(folder)
    faults = read_chain(folder, [KEY.verify_key]).faults
    assert any(re.match(reason, fault) for fault in faults), faults


def test_any_bit_of_the_last_entry_that_is_changed_shows(folder: Path, sealed: list[SessionId]) -> None:
    """No later entry holds the hash of its line: every bit where its signature ends, and some of the others."""
    log = folder / FILE
    whole = log.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    signed = whole.index(b" ", last)
    for at in (*range(last * 8, len(whole) * 8, 13), *range((signed - 4) * 8, (signed + 2) * 8)):
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << at % 8
        log.write_bytes(changed)
        assert read_chain(folder, [KEY.verify_key]).faults, (at // 8, at % 8)


def test_the_chain_of_another_key_proves_nothing(folder: Path, sealed: list[SessionId]) -> None:
    assert FILE in bad(folder, OTHER_KEY)
    assert "not among the keys given" in bad(folder, OTHER_KEY)[FILE]


async def test_a_crash_between_seal_and_entry_is_repaired_at_the_start(
    folder: Path, sealed: list[SessionId]
) -> None:
    """The process died after the seal: the entry is missing, or its line is torn."""
    log = folder / FILE
    lines = log.read_bytes().splitlines(keepends=True)
    for left in (lines[:-1], [*lines[:-1], lines[-1][:50]], []):
        log.write_bytes(b"".join(left))
        async with _opened(folder) as store:
            await store.recover()
        assert bad(folder) == {}
        assert log.read_bytes().count(b"\n") == 5


async def test_what_somebody_put_into_the_folder_does_not_get_into_the_chain(
    folder: Path, sealed: list[SessionId], tmp_path: Path
) -> None:
    async with _opened(tmp_path / "other", OTHER_KEY) as other:
        foreign = await record(other, 9)
    path_of(folder, foreign).write_bytes(path_of(tmp_path / "other", foreign).read_bytes())
    async with _opened(folder) as store:
        await store.index.rebuild()
        await store.recover()
    assert foreign not in SealLog(folder, is_durable=False).known()
    assert bad(folder, KEY, OTHER_KEY)[foreign].startswith("not in the chain")


async def test_a_recording_that_recovery_sealed_is_in_the_chain(folder: Path) -> None:
    async with _opened(folder) as store:
        session = await record(store)
    path = path_of(folder, session)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    for leftover in folder.glob("index.db*"):
        leftover.unlink()
    (folder / FILE).unlink()
    async with _opened(folder) as store:
        (row,) = await store.recover()
    assert row.ending == "interrupted"
    assert bad(folder) == {}


async def test_a_chain_that_cannot_be_written_ends_no_session_and_is_made_up_for(folder: Path) -> None:
    async with _opened(folder) as store:
        (folder / FILE).mkdir()
        session = await record(store)
        (folder / FILE).rmdir()
    assert SealLog(folder, is_durable=False).known() == {session}


async def test_after_a_changed_last_line_the_chain_goes_on(folder: Path, sealed: list[SessionId]) -> None:
    log = folder / FILE
    log.write_bytes(log.read_bytes()[:-20] + b"\n")
    async with _opened(folder) as store:
        new = await record(store, 9)
    assert new in SealLog(folder, is_durable=False).known()
    assert FILE in bad(folder)


def test_what_was_removed_on_purpose_is_not_missing(folder: Path, sealed: list[SessionId]) -> None:
    SealLog(folder, is_durable=True).remove(
        sealed[0], by="retention", reason="older than 90d", key=KEY, now=STARTED
    )
    path_of(folder, sealed[0]).unlink()
    assert bad(folder) == {}


def test_a_recording_without_a_seal_is_not_entered(folder: Path, sealed: list[SessionId]) -> None:
    path = path_of(folder, sealed[0])
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(FormatError, match="no seal"):
        SealLog(folder, is_durable=False).enter(path, key=KEY, trusted=[], now=STARTED)


def test_the_chain_is_as_the_specification_says(folder: Path, sealed: list[SessionId]) -> None:
    """Read with nothing of ours, from section 8 of docs/recording-format.md and a public key in PEM."""
    public = serialization.load_pem_public_key(KEY.verify_key.pem())
    assert isinstance(public, Ed25519PublicKey)
    previous = "0" * 64
    lines = (folder / "seals.log").read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        signature, _, text = line.removesuffix(b"\n").partition(b" ")
        public.verify(base64.b64decode(signature, validate=True), b"bastion recording log 1\n" + text)
        entry = json.loads(text)
        assert (entry["is"], entry["number"], entry["previous"]) == ("sealed", number, previous)
        previous = hashlib.sha256(line).hexdigest()
        chain = bytes(32)
        content = path_of(folder, entry["id"]).read_bytes().splitlines(keepends=True)
        for part in content:
            chain = hashlib.sha256(chain + part).digest()
        assert (entry["lines"], entry["chain"], entry["ending"]) == (len(content), chain.hex(), "exited")
    assert len(lines) == len(sealed)
