"""Recordings that are encrypted once they are sealed: what is left of them in the plain, and what can go wrong."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import hashlib
import json
import os
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pyrage import decrypt, x25519

from recorder import search_index
from recorder.at_rest import open_plain
from recorder.catalog import SessionRow, recordings
from recorder.encryption import Encryptor
from recorder.errors import FormatError, NoIdentityFits, NotEncrypted
from recorder.events import Exited, Happened, Noted, Output
from recorder.follow import followed_text
from recorder.header import Header
from recorder.index import FILE
from recorder.inspection import Finding, inspect, inspect_kept
from recorder.journal import Recording
from recorder.names import SessionId, is_encrypted
from recorder.playback import Tape, shown_text
from recorder.reader import Entry
from recorder.recipients import Recipients
from recorder.screen_filter import ScreenFilter
from recorder.seals import FILE as SEALS
from recorder.seals_check import hold_against, read_chain
from recorder.search import Query, search, unsearchable
from recorder.search_feed import forget_text_of, rebuild_text
from recorder.store import Store
from tests.recorder.casts import KEY, OTHER_KEY, STARTED

IDENTITY = x25519.Identity.generate()
RECIPIENTS = Recipients.parse([str(IDENTITY.to_public())])
SECRET = "correct horse battery staple"
COMMAND = "psql --password=swordfish"


@asynccontextmanager
async def opened(
    folder: Path, *, recipients: Recipients | None = RECIPIENTS, keeps_text: bool = False
) -> AsyncIterator[Store]:
    store = await Store.open(
        folder, key=KEY, recipients=recipients, keeps_encrypted_text=keeps_text, min_free_bytes=0
    )
    try:
        yield store
    finally:
        await store.close()


async def begin(store: Store) -> Recording:
    facts: dict[str, str | list[str]] = {
        "user": "alice", "groups": ["sre"], "target": "web-1", "kind": "ssh", "login": "deploy", "action": "exec",
        "labels": ["env=prod"], "command": COMMAND, "client": "192.0.2.7:4242",
    }  # fmt: skip
    return await store.begin(Header(started_at=STARTED, columns=80, rows=24, terminal="xterm", facts=facts))


async def record(store: Store, size: int = 0) -> SessionId:
    recording = await begin(store)
    await recording.append([Output(SECRET.encode() + b"\r\n"), Noted(f"upload {SECRET}")])
    await recording.append([Happened("sql", f"select '{SECRET}'", {"rows": 1})])
    await recording.append([Output(b"x" * 79 + b"\n")] * (size // 80))
    await recording.append([Exited(3)])
    await recording.seal("exited", 3)
    if store.encryption is not None:
        await store.encryption.wait()
    return recording.id


def verify_all(folder: Path) -> list[Finding]:
    keys = [KEY.verify_key]
    findings = [inspect_kept(path, keys) for path in recordings(folder)]
    return hold_against(read_chain(folder, keys), folder, findings)


def encrypted(folder: Path) -> Path:
    (path,) = recordings(folder)
    assert is_encrypted(path)
    return path


def plain_bytes(path: Path) -> bytes:
    with open_plain(path, [IDENTITY]) as file:
        return file.read()


def holding(folder: Path, text: str) -> set[str]:
    """The names of the files below *folder* in which *text* stands."""
    return {path.name for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()}


async def found(store: Store, text: str) -> list[SessionRow]:
    return [one.row async for one in search(store.index, Query(text=text))]


async def test_once_sealed_it_is_encrypted_and_verifies_from_outside_and_inside(folder: Path) -> None:
    async with opened(folder) as store:
        session = await record(store, 300_000)
    path = encrypted(folder)
    assert sorted(file.name for file in path.parent.iterdir()) == [f"{session}.cast.age", f"{session}.label"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert [(one.state, one.is_good) for one in verify_all(folder)] == [("encrypted", True)]
    inside = inspect(path, [KEY.verify_key], [IDENTITY])
    assert (inside.state, inside.name) == ("sealed", session)
    assert SECRET in "".join(shown_text(path, restores=False, identities=[IDENTITY]))


async def test_nothing_that_was_typed_or_shown_stays_in_the_plain(folder: Path) -> None:
    async with opened(folder) as store:
        await store.recover()
        session = await record(store)
        assert holding(folder, SECRET) == holding(folder, COMMAND) == set()
        assert store.search is not None
        await store.search.wait()
        assert await found(store, SECRET) == []
        assert await unsearchable(store.index, Query(text="").narrow) == 1
        (row,) = await store.index.list()
    assert (row.id, row.user, row.groups, row.target, row.kind) == (
        session,
        "alice",
        ("sre",),
        "web-1",
        "ssh",
    )
    assert (row.login, row.action, row.ending, row.exit_status) == ("deploy", "exec", "exited", 3)
    assert (row.facts["labels"], row.started_at) == (["env=prod"], STARTED)
    assert row.command == "" and "client" not in row.facts
    (folder / FILE).unlink()
    async with opened(folder) as store:
        assert await store.index.list() == [row]


async def test_while_it_runs_its_command_is_not_in_the_index_either(folder: Path) -> None:
    async with opened(folder) as store:
        recording = await begin(store)
        assert holding(folder, COMMAND) == {recording.path.name}
        await recording.seal("exited", 0)


async def test_its_text_is_kept_for_searches_only_if_told_so(folder: Path) -> None:
    async with opened(folder, keeps_text=True) as store:
        session = await record(store)
        assert [row.id for row in await found(store, SECRET)] == [session]
        assert [row.id for row in await found(store, "swordfish")] == [session]
        assert await unsearchable(store.index, Query(text="").narrow) == 0
        assert {name.partition("-")[0] for name in holding(folder, SECRET)} == {"search.db"}
        rows = await store.index.list()
        assert list(rebuild_text(folder, rows, keeps_encrypted=True)) == []
        assert [row.id for row in await found(store, SECRET)] == [session]
        (folder / search_index.FILE).unlink()
        assert list(rebuild_text(folder, rows, keeps_encrypted=True, identities=[IDENTITY])) == rows
        assert [row.id for row in await found(store, SECRET)] == [session]
    async with opened(folder) as store:  # the setting is taken back
        await store.recover()
        assert store.search is not None
        await store.search.wait()
        assert await found(store, SECRET) == []
        assert holding(folder, SECRET) == set()


async def test_forgotten_text_is_not_in_what_is_left_of_the_index(folder: Path) -> None:
    async with opened(folder, recipients=None) as store:
        sessions = [await record(store) for _ in range(3)]
        assert store.search is not None
        await store.search.wait()
        await asyncio.to_thread(forget_text_of, folder, sessions)
        assert await found(store, SECRET) == []
    assert holding(folder, "rse bat") == {f"{session}.cast" for session in sessions}
    with closing(sqlite3.connect(folder / search_index.FILE)) as database:
        database.execute("CREATE VIRTUAL TABLE terms USING fts5vocab (trigrams, row)")
        assert database.execute("SELECT count(*) FROM terms").fetchone() == (0,)


async def test_what_was_recorded_before_stays_plain(folder: Path) -> None:
    async with opened(folder, recipients=None) as store:
        before = await record(store)
    async with opened(folder) as store:
        await store.recover()
        after = await record(store)
        assert store.encryption is not None and store.encryption.waiting == ()
        assert store.search is not None
        await store.search.wait()
        assert {row.id for row in await found(store, SECRET)} == {before}
    assert {path.name for path in recordings(folder)} == {f"{before}.cast", f"{after}.cast.age"}
    assert [one.is_good for one in verify_all(folder)] == [True, True]


async def test_one_that_waits_to_be_encrypted_is_told_of_and_not_searched(folder: Path) -> None:
    async with opened(folder) as store:
        recording = await begin(store)
        await recording.append([Output(SECRET.encode())])
        store._min_free_bytes = 1 << 60  # as on a disk that is nearly full
        await recording.seal("exited", 0)
        assert store.encryption is not None
        await store.encryption.wait()
        assert store.encryption.waiting == (recording.id,)
    (finding,) = verify_all(folder)
    assert finding.is_good and "is to be encrypted, and is not yet" in finding.reason
    async with opened(
        folder, recipients=None
    ) as store:  # without the setting there is nobody to encrypt it to
        await store.recover()
        assert store.search is not None
        await store.search.wait()
    assert holding(folder, SECRET) == {recording.path.name}
    async with opened(folder) as store:
        await store.recover()
        assert store.encryption is not None
        await store.encryption.wait()
    encrypted(folder)
    assert holding(folder, SECRET) == set()


async def test_on_a_full_disk_it_stays_plain_until_there_is_room(small_disk: Path) -> None:
    folder = small_disk / "recordings"
    (small_disk / "ballast").write_bytes(bytes(300_000))
    async with opened(folder) as store:
        assert store.encryption is not None
        session = await record(store, 350_000)
        assert store.encryption.waiting == (session,)
        (path,) = recordings(folder)
        assert path.suffix == ".cast" and [file.name for file in path.parent.iterdir()] == [path.name]
        (small_disk / "ballast").unlink()
        await record(store)  # another one that ends has it tried again
        assert not store.encryption.waiting
    assert [one.state for one in verify_all(folder)] == ["encrypted", "encrypted"]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError(errno.EIO, "Input/output error")])
async def test_one_that_cannot_be_encrypted_keeps_no_other_from_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    real = Encryptor.encrypt
    refused: list[SessionId] = []

    def failing(self: Encryptor, session_id: SessionId, **rest: Any) -> SessionRow | None:
        if session_id == first.id:
            refused.append(session_id)
            raise error
        return real(self, session_id, **rest)

    monkeypatch.setattr(Encryptor, "encrypt", failing)
    async with opened(folder) as store:
        assert store.encryption is not None
        first = await begin(store)
        await first.seal("exited", 0)
        await store.encryption.wait()
        await record(store)
        await record(store)
        assert store.encryption.waiting == (first.id,)
        assert refused == [first.id]  # not again with each session that ends: it may be large
    assert sorted(one.state for one in verify_all(folder)) == ["encrypted", "encrypted", "sealed"]


async def sealed(folder: Path, size: int = 0) -> Path:
    """A recording that is sealed and plain."""
    async with opened(folder, recipients=None) as store:
        await record(store, size)
    (path,) = recordings(folder)
    return path


def encryptor(folder: Path) -> Encryptor:
    assert RECIPIENTS is not None
    return Encryptor(folder=folder, recipients=RECIPIENTS, key=KEY, trusted=(), min_free_bytes=0)


def encrypt(folder: Path, path: Path, is_stopped: Callable[[], bool] = lambda: False) -> SessionRow | None:
    session = SessionId(path.name.partition(".")[0])
    return encryptor(folder).encrypt(session, now=lambda: STARTED, is_stopped=is_stopped)


@pytest.mark.parametrize("size", [0, 200_000])
@pytest.mark.parametrize("call", ["write", "fsync", "fdatasync", "pread"])
async def test_whatever_fails_the_plain_file_stays_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, size: int, call: str
) -> None:
    """Also the last write, of which age's binding tells nobody."""
    path = await sealed(folder, size)
    whole, real = path.read_bytes(), getattr(os, call)
    monkeypatch.setattr("recorder.encryption.SYNC_EVERY", 1)
    calls, failures = 0, 0

    def failing(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*arguments)

    for at in range(1, 100):
        calls = 0
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            if call == "fsync":  # of folders too: nothing is deleted before
                patch.setattr("recorder.folder.os.fsync", failing)
            with contextlib.suppress(OSError):
                encrypt(folder, path)
        if calls < at:
            break
        failures += 1
        if path.exists():
            assert path.read_bytes() == whole
            assert not list(path.parent.glob(".*.part"))
        else:
            assert call == "fsync"  # the last one, after the deletion
            break
    assert failures >= 1
    assert plain_bytes(encrypted(folder)) == whole


async def test_a_file_that_is_not_as_long_as_it_must_be_replaces_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await sealed(folder)
    monkeypatch.setattr(
        "recorder.encryption.encrypt_io", lambda source, sink, keys: sink.write(source.read())
    )
    with pytest.raises(NotEncrypted):
        encrypt(folder, path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_who_forges_the_plain_file_beside_it_does_not_get_rid_of_the_encrypted_one(
    folder: Path,
) -> None:
    path = await sealed(folder)
    whole = path.read_bytes()
    encrypt(folder, path)
    kept = encrypted(folder).read_bytes()
    path.write_bytes(whole.replace(b"alice", b"mallo"))
    assert [one.state for one in verify_all(folder)] == ["changed"]
    encrypt(folder, path)  # as the next start would
    assert encrypted(folder).read_bytes() == kept
    assert [one.state for one in verify_all(folder)] == ["encrypted"]


async def test_what_this_recorder_did_not_seal_is_not_encrypted(folder: Path) -> None:
    path = await sealed(folder)
    whole = path.read_bytes()
    for spoilt in (
        whole[: whole.rindex(b"\n[") + 1],
        whole.replace(b'\\"exit_status\\":3', b'\\"exit_status\\":0'),
    ):
        assert spoilt != whole
        path.write_bytes(spoilt)
        with pytest.raises(FormatError):
            encrypt(folder, path)
        assert path.read_bytes() == spoilt


async def test_a_lost_chain_of_seals_gets_its_entry_from_the_label(folder: Path) -> None:
    async with opened(folder) as store:
        session = await record(store)
        chain = read_chain(folder, [KEY.verify_key]).entries[session]
    (folder / SEALS).unlink()
    async with opened(folder) as store:
        await store.recover()
    again = read_chain(folder, [KEY.verify_key]).entries[session]
    assert again == msgspec.structs.replace(chain, at=again.at)
    assert [one.state for one in verify_all(folder)] == ["encrypted"]


async def test_a_viewer_who_follows_sees_the_end_though_it_is_encrypted_meanwhile(folder: Path) -> None:
    async with opened(folder) as store:
        recording = await begin(store)
        texts = followed_text(recording.path, ScreenFilter(), interval=0.001)
        await recording.append([Output(b"first ")])
        assert await anext(texts) == "first "
        await recording.append([Output(b"last")])
        await recording.seal("exited", 0)
        assert store.encryption is not None
        await store.encryption.wait()
        assert not recording.path.exists()
        assert "".join([text async for text in texts]) == "last"


async def test_replays_go_back_in_what_is_encrypted(folder: Path) -> None:
    path = await sealed(folder, 600_000)
    with path.open("rb") as file:
        expected = [entry.text for entry in taken(Tape(file))]
    encrypt(folder, path)
    with open_plain(encrypted(folder), [IDENTITY]) as file:
        tape = Tape(file)
        for _ in range(100):
            tape.take()
        tape.rewind()
        assert [entry.text for entry in taken(tape)] == expected
        whole = plain_bytes(encrypted(folder))
        for at in (0, 500_000, 10, 123_456, 123_400, len(whole)):
            file.seek(at)
            assert (file.tell(), file.read(1000)) == (at, whole[at : at + 1000])


def taken(tape: Tape) -> Iterator[Entry]:
    while tape.head is not None:
        yield tape.take()


async def test_another_identity_is_told_for_whom_it_is(folder: Path) -> None:
    async with opened(folder) as store:
        await record(store)
    with pytest.raises(NoIdentityFits) as told:
        plain_bytes_with(encrypted(folder), x25519.Identity.generate())
    assert str(IDENTITY.to_public()) in told.value.hint
    finding = inspect(encrypted(folder), [KEY.verify_key], [x25519.Identity.generate()])
    assert (finding.state, finding.is_good) == ("encrypted", True)
    assert "no identity that was named fits" in finding.reason


def plain_bytes_with(path: Path, identity: x25519.Identity) -> bytes:
    with open_plain(path, [identity]) as file:
        return file.read()


async def test_a_server_that_stops_encrypts_what_it_ended(folder: Path) -> None:
    async with opened(folder) as store:
        recording = await begin(store)
        await recording.append([Output(b"x" * 500_000)])
    assert encrypted(folder).name == f"{recording.id}.cast.age"


async def test_a_server_that_stops_does_not_wait_long_for_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.encryption_feed.CLOSING", 0.01)
    reading = threading.Event()
    real = os.pread

    def slow(descriptor: int, length: int, offset: int) -> bytes:
        if length == 8192 and offset > 0:  # a piece to be encrypted
            reading.set()
            time.sleep(0.02)
        return real(descriptor, length, offset)

    async with opened(folder) as store:
        recording = await begin(store)
        await recording.append([Output(b"x" * 3_000_000)])
        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", slow)
            await recording.seal("exited", 0)
            await asyncio.to_thread(reading.wait)
            await store.close()
    assert recording.path.exists()
    assert [one.state for one in verify_all(folder)] == ["sealed"]
    assert not list(recording.path.parent.glob(".*"))


async def test_a_server_that_stops_does_not_wait_for_the_text_either(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.encryption_feed.CLOSING", 0.01)
    async with opened(folder, keeps_text=True) as store:
        recording = await begin(store)
        with search_index.only_writer(folder):  # as long as somebody makes the index anew
            await recording.seal("exited", 0)
            await store.close()
    assert recording.path.exists()
    async with opened(folder, keeps_text=True) as store:
        await store.recover()
        assert store.encryption is not None
        await store.encryption.wait()
        assert await found(store, "swordfish") != []
    assert not recording.path.exists()


async def test_a_removed_recording_does_not_come_back_encrypted(folder: Path) -> None:
    path = await sealed(folder, 300_000)

    def remove() -> bool:
        path.unlink(missing_ok=True)
        return False

    shutil.copy(path, folder / "copy")
    with pytest.raises(FileNotFoundError):  # removed by force while it was held
        encrypt(folder, path, remove)
    path.unlink(missing_ok=True)
    assert encrypt(folder, path) is None


async def test_rotated_keys_label_what_the_former_one_sealed(folder: Path) -> None:
    async with opened(folder) as store:
        recording = await begin(store)
        await recording.append([Output(b"x")])
        store.use_key(OTHER_KEY, [KEY.verify_key])
        await recording.seal("exited", 0)
        assert store.encryption is not None
        await store.encryption.wait()
    keys = [KEY.verify_key, OTHER_KEY.verify_key]
    assert inspect(encrypted(folder), keys).state == "encrypted"
    assert inspect(encrypted(folder), [KEY.verify_key]).state == "unknown key"


@pytest.mark.parametrize("what", ["label", "file", "id", "swapped", "no label"])
async def test_a_change_of_either_file_shows_without_an_identity(folder: Path, what: str) -> None:
    async with opened(folder) as store:
        first, second = await record(store), await record(store)
    path = next(path for path in recordings(folder) if path.name.startswith(first))
    label = path.with_name(f"{first}.label")
    match what:
        case "label":
            label.write_bytes(label.read_bytes().replace(b'"alice"', b'"mallo"'))
        case "file":
            spoilt = bytearray(path.read_bytes())
            spoilt[-1] ^= 1
            path.write_bytes(spoilt)
        case "id":
            text = label.read_bytes().partition(b" ")[2]
            label.write_bytes(text)
        case "swapped":
            shutil.copy(path.with_name(f"{second}.label"), label)
            shutil.copy(path.with_name(f"{second}.cast.age"), path)
        case _:
            label.unlink()
            assert inspect(path, [KEY.verify_key], [IDENTITY]).state == "sealed"
            return
    finding = inspect(path, [KEY.verify_key])
    assert (finding.state, finding.is_good) == ("changed", False)
    if what != "file":
        with_identity = inspect(path, [KEY.verify_key], [IDENTITY])
        assert not with_identity.is_good
    assert [one.is_good for one in verify_all(folder)].count(False) == 1


async def test_the_label_is_as_the_specification_says(folder: Path) -> None:
    """Read with nothing of ours, from section 9 of docs/recording-format.md and a public key in PEM."""
    async with opened(folder) as store:
        session = await record(store)
    path = encrypted(folder)
    public = serialization.load_pem_public_key(KEY.verify_key.pem())
    assert isinstance(public, Ed25519PublicKey)
    signature, _, text = path.with_name(f"{session}.label").read_bytes().removesuffix(b"\n").partition(b" ")
    public.verify(base64.b64decode(signature, validate=True), b"bastion recording label 1\n" + text)
    label = json.loads(text)
    content = path.read_bytes()
    assert (label["id"], label["key"]) == (session, KEY.id)
    assert (label["size"], label["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert label["recipients"] == [str(IDENTITY.to_public())]
    plain = decrypt(content, [IDENTITY])
    assert label["seal"].encode() + b"\n" == plain.splitlines(keepends=True)[-1]
    header = json.loads(plain.splitlines()[0])["bastion"]
    assert header["encrypt"] is True and header["started_at"] == label["started_at"]
    assert label["facts"] == {name: header["facts"][name] for name in label["facts"]}
    assert set(header["facts"]) - set(label["facts"]) == {"command", "client"}
    signature, _, statement = json.loads(label["seal"])[2].partition(" ")
    public.verify(base64.b64decode(signature), b"bastion recording seal 1\n" + statement.encode())
    before = bytes.fromhex(json.loads(statement)["chain"])
    entry = json.loads((folder / SEALS).read_bytes().partition(b" ")[2])
    assert entry["chain"] == hashlib.sha256(before + label["seal"].encode() + b"\n").hexdigest()
    assert entry["lines"] == json.loads(statement)["lines"] + 1
