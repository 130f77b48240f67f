"""The reader of rsync's protocol, held against conversations that were written down, whole, cut and spoilt."""

from __future__ import annotations

import hashlib
import json
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bastion.relay.files import Manifest
from bastion.relay.rsync import compression, file_list
from bastion.relay.rsync.contents import Blocks, Contents, read_compressed
from bastion.relay.rsync.manifest import RsyncManifest
from bastion.relay.rsync.wire import Stream
from bastion.relay.sftp_packets import Unreadable
from recorder.events import Event, FileHandled, Input, Noted, Output
from recorder.facts import encode_fact
from tests.relay.rsync.conversations import ROOT, Conversation, read

VECTORS = ROOT / "tests" / "vectors" / "rsync"
EXPECTED = json.loads((VECTORS / "expected.json").read_text())
SAID = {name: Conversation.of((VECTORS / f"{name}.jsonl").read_text().splitlines()) for name in EXPECTED}
EACH = pytest.mark.parametrize("name", EXPECTED)


def test_each_conversation_is_expected_and_each_expected_one_is_there() -> None:
    assert {path.stem for path in VECTORS.glob("*.jsonl")} == set(EXPECTED)


@EACH
def test_conversation_is_told_as_expected(name: str) -> None:
    assert SAID[name].told() == [FileHandled(**file) for file in EXPECTED[name]["told"]]


@EACH
def test_conversation_is_told_the_same_byte_by_byte(name: str) -> None:
    bytewise = tuple((side, bytes([byte])) for side, data in SAID[name].said for byte in data)
    assert Conversation(SAID[name].command, bytewise).told() == SAID[name].told()


@given(st.sampled_from(sorted(EXPECTED)), st.data())
@settings(max_examples=60)
def test_cuts_of_the_two_streams_make_no_difference(name: str, data: st.DataObject) -> None:
    pieces: list[tuple[str, bytes]] = []
    for side, said in SAID[name].said:
        cuts = sorted({0, len(said), *data.draw(st.lists(st.integers(0, len(said)), max_size=4))})
        pieces += [(side, said[a:b]) for a, b in pairwise(cuts)]
    assert Conversation(SAID[name].command, tuple(pieces)).told() == SAID[name].told()


@given(st.sampled_from(sorted(EXPECTED)), st.data())
@settings(max_examples=300)
def test_spoilt_bytes_raise_nothing_else_and_are_recorded(name: str, data: st.DataObject) -> None:
    said = list(SAID[name].said)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(said) - 1))
        side, spoilt = said[place]
        at = data.draw(st.integers(0, len(spoilt)))
        said[place] = (
            side,
            spoilt[:at] + data.draw(st.binary(max_size=6)) + spoilt[at + data.draw(st.integers(0, 6)) :],
        )
    assert_whole_from_where_it_cannot_be_read(RsyncManifest(SAID[name].command.split()[1:]), said)


def assert_whole_from_where_it_cannot_be_read(protocol: RsyncManifest, said: list[tuple[str, bytes]]) -> None:
    manifest = Manifest(protocol, keep_contents=False)
    told: list[Event] = []
    for side, data in said:
        told += manifest.upward([Input(data)]) if side == "client" else manifest.downward([Output(data)])
    told += manifest.end()
    assert all(encode_fact(event) for event in told if isinstance(event, FileHandled))
    for event in told:
        if isinstance(event, Noted) and (place := re.search(r"from byte ([\d,]+) of the (\w+)", event.text)):
            side = place[2]
            kind = Input if side == "client" else Output
            kept = b"".join(raw.data for raw in told if isinstance(raw, kind))
            whole = b"".join(data for speaker, data in said if speaker == side)
            assert kept == whole[int(place[1].replace(",", "")) :]
            for other, kind in (
                ("client", Input),
                ("target", Output),
            ):  # and of the other side a part at its end
                kept = b"".join(raw.data for raw in told if isinstance(raw, kind))
                assert b"".join(data for speaker, data in said if speaker == other).endswith(kept)
            return
    assert not any(isinstance(event, Input | Output) for event in told)


@given(st.lists(st.tuples(st.sampled_from(["client", "target"]), st.binary(max_size=200)), max_size=8))
def test_anything_else_is_recorded_as_it_is(said: list[tuple[str, bytes]]) -> None:
    assert_whole_from_where_it_cannot_be_read(RsyncManifest(["--server", "-a", ".", "x"]), said)


def test_contents_are_kept_beside_the_manifest_if_the_configuration_says_so() -> None:
    said = SAID["push-32"]
    manifest = Manifest(said.manifest(), keep_contents=True)
    told: list[Event] = []
    for side, data in said.said:
        told += manifest.upward([Input(data)]) if side == "client" else manifest.downward([Output(data)])
    assert b"".join(event.data for event in told if isinstance(event, Input)) == said.bytes_of("client")
    assert b"".join(event.data for event in told if isinstance(event, Output)) == said.bytes_of("target")
    digest = hashlib.sha256(b"y" * 10).hexdigest()
    assert Noted(f"files: sent ünï 10 bytes SHA-256 {digest}") in told


def test_files_and_names_are_kept_in_mind_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("MAX_FILES", "MAX_NAMES"):
        with monkeypatch.context() as patched:
            patched.setattr(file_list, limit, 5)
            with pytest.raises(Unreadable, match="more files than can be kept in mind"):
                SAID["pull-27"].told()


@pytest.mark.parametrize("name", ["push-32-zstd", "pull-32-zlibx"])
def test_contents_that_become_too_many_lose_their_digest_and_nothing_else(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = SAID[name].told()
    for constant in ("FREE", "FACTOR"):
        monkeypatch.setattr(compression, constant, 2)
    told = SAID[name].told()
    for file, before in zip(told, expected, strict=True):
        if before.sha256 is None or file.sha256 is not None:
            assert file == before
        else:
            assert (file.size, file.reused, file.result) == (before.size, before.reused, before.result)
            assert file.checksum
    assert [file.sha256 for file in told] != [file.sha256 for file in expected]


@pytest.mark.parametrize("compress", ["zlib", "zlibx", "zstd", "lz4"])
@given(st.binary(max_size=300))
def test_compressed_bytes_that_make_no_sense_lose_the_digest(compress: str, data: bytes) -> None:
    expander, contents = compression.expander_of(compress), Contents(0)
    assert expander is not None
    expander.begin()
    expander.expand(b"\xff\xff\xff\xff" + data, contents)
    expander.pause(contents)
    assert (contents.passed, contents.sha256) == (None, None)


def test_what_comes_too_early_is_kept_in_mind_up_to_a_limit() -> None:
    manifest = RsyncManifest(["--server", "-a", ".", "x"])
    with pytest.raises(Unreadable, match="too much comes before"):
        read(manifest, [("client", b"\x20\0\0\0"), *[("client", bytes(50_000))] * 30])


@pytest.mark.parametrize("size", [b"\xfd" + b"\xff" * 7, b"\xfe" + b"\xff" * 8])
def test_size_that_no_file_has_is_not_told(size: bytes) -> None:
    manifest = RsyncManifest(["--server", "-r", ".", "x"])
    entry = b"\x02\x01a" + size + b"\0\0\0\0"
    frame = bytes([len(entry), 0, 0, 7]) + entry
    with pytest.raises(Unreadable):
        read(manifest, [("client", b"\x1e\0\0\0"), ("target", b"\x1e\0\0\0\0\0\0\0\0"), ("client", frame)])


def test_blocks_without_end_are_not_counted() -> None:
    stream, contents = Stream("the target"), Contents(0)
    blocks = Blocks(2**31 - 1, 2**29, 16, 0)
    stream.feed(b"\x21\0\0\0\0\xff\xff" * 200_000)
    expander = compression.expander_of("zlibx")
    assert expander is not None
    with pytest.raises(Unreadable, match="more blocks than any file has"):
        next(read_compressed(stream, blocks, contents, expander))


def test_newer_version_is_not_guessed_at() -> None:
    manifest = RsyncManifest(["--server", "-a", ".", "x"])
    with pytest.raises(Unreadable, match="version 33"):
        read(manifest, [("client", b"\x21\0\0\0"), ("target", b"\x21\0\0\0")])
