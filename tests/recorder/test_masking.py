"""Masked input: what was echoed stands in the clear, and what was not does not, however the packets were cut."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.errors import FormatError
from recorder.events import Event, Input, Masked, Output, Typed
from recorder.header import Header
from recorder.masking import Masking
from recorder.reader import open_recording
from recorder.recovery import seal_unsealed
from recorder.store import Store
from tests.recorder.casts import FACTS, KEY, STARTED, cast, read, verify


def told(events: Sequence[Event]) -> str:
    """Input as it is known: text, and `#` for each masked byte."""
    shown = b""
    for event in events:
        match event:
            case Input(data):
                shown += data
            case Masked(count):
                shown += b"#" * count
    return shown.decode(errors="replace")


def converse(*events: tuple[str, str] | str, width: int = 80) -> str:
    """What is told of a conversation of ("typed", …) and output, when it is over."""
    masking = Masking(width)
    written: list[Event] = []
    for event in events:
        written += masking.take(
            [Output(event.encode())] if isinstance(event, str) else [Input(event[1].encode())]
        )
    return told([*written, *masking.finish()])


def keys(text: str, echo: Callable[[str], str] = lambda char: char) -> list[tuple[str, str] | str]:
    """Each key of *text* and its echo."""
    return [part for char in text for part in (("typed", char), echo(char)) if part]


def test_that_bytes_came_is_said_before_what_they_were() -> None:
    masking = Masking(80)
    assert masking.take([Input(b"l")]) == [Typed(1)]
    assert masking.take([Output(b"l")]) == [Input(b"l"), Output(b"l")]


def test_password_at_a_prompt_without_echo_is_masked_and_counted() -> None:
    sudo = "\r\n[sudo] password for alice: "
    got = converse(*keys("sudo id"), ("typed", "\r"), sudo, *keys("hunter2", lambda _: ""), ("typed", "\r"),
                   "\r\n", "uid=0(root) hunter trees re2\r\n$ ")  # fmt: skip
    assert got == "sudo id\r#######\r"


def test_pasted_password_is_masked_as_well() -> None:
    assert converse("Password: ", ("typed", "hunter2\r"), "\r\nhunter\r\n") == "#######\r"


@pytest.mark.parametrize("password", ["a*b*c", "*star", "a**"])
def test_stars_in_place_of_characters_tell_nothing_of_a_password(password: str) -> None:
    typed = keys(password, lambda _: "*")
    got = converse("Password: ", *typed, ("typed", "\r"), "\r\n")
    assert got == "#" * len(password) + "\r"


def test_other_output_that_happens_to_hold_the_letters_is_no_echo() -> None:
    got = converse("Password: ", *keys("hun", lambda _: ""), "\r\nhello, under new management\r\n",
                   *keys("ter", lambda _: ""), "better", ("typed", "\r"), "\r\n$ ")  # fmt: skip
    assert got == "######\r"


def test_keys_that_carry_no_text_are_told_at_once() -> None:
    masking = Masking(80)
    steering = b"\r\t\x03\x1b[A\x1bOP\x1b[1;5C\x1b[200~\x1b[<0;10;5M\x04\x7f"
    assert masking.take([Input(steering)]) == [Input(steering)]


@pytest.mark.parametrize("sequence", ["\x1b[104u", "\x1b[27;5;104~", "\x1b[72;35;104;1;0;1_"])
def test_keyboards_that_send_letters_as_numbers_are_masked(sequence: str) -> None:
    assert "104" not in converse("Password: ", ("typed", sequence + "\r"), "\r\n")


def test_coloured_redraws_of_zsh_are_echoes() -> None:
    got = converse(
        "% ", ("typed", "l"), "\x1b[1m\x1b[31ml\x1b[0m\x1b[39m", ("typed", "s"), "\b\x1b[32ml\x1b[32ms\x1b[39m",
        ("typed", "\r"), "\x1b[?2004l\r\r\n",
    )  # fmt: skip
    assert got == "ls\r"


def test_suggestion_after_the_cursor_does_not_hide_an_echo() -> None:
    got = converse("> ", ("typed", "l"), "l\x1b[90ms -la\x1b[m\x1b[5D", ("typed", "\r"), "\x1b[K\r\n")
    assert got == "l\r"


def test_insertion_in_the_middle_of_a_line_is_an_echo() -> None:
    got = converse(
        "$ ", *keys("ac"), ("typed", "\x1b[D"), "\b", ("typed", "b"), "bc\b", ("typed", "\r"), "\r\n"
    )
    assert got == "ac\x1b[Db\r"


def test_line_pasted_with_its_enter_is_told_when_its_line_feed_comes() -> None:
    assert converse("$ ", ("typed", "ls -la\r"), "ls -la\r\ntotal 0\r\n$ ") == "ls -la\r"


def test_lines_typed_ahead_are_told_when_the_prompt_shows_them() -> None:
    got = converse("$ ", ("typed", "ls\rpwd\rid\r"), "ls\r\nfile\r\n$ ", "pwd\r\n/home\r\n$ id\r\nuid=0\r\n")
    assert got == "ls\rpwd\rid\r"


def test_line_that_is_shown_tells_of_itself_and_not_of_the_same_text_typed_ahead_of_it() -> None:
    """The third line is typed where nothing is echoed, and the same as the first."""
    got = converse(
        ("typed", "abc\rread -s\rabc\r"),
        "abc\r\n",
        "read -s\r\n",
        "\r\n$ ",
        *keys("x"),
        ("typed", "\r"),
        "\r\n",
    )
    assert got == "abc\rread -s\r###\rx\r"


def test_long_paste_is_told_line_by_line_between_the_output_of_each() -> None:
    lines = [f"command number {number}" for number in range(300)]
    answers = [f"{line}\r\nsome output\r\nand more\r\n$ " for line in lines]
    assert converse(("typed", "".join(f"{line}\r" for line in lines)), *answers) == "".join(
        f"{line}\r" for line in lines
    )


def test_key_that_does_something_else_is_masked_and_the_command_after_it_told() -> None:
    got = converse(("typed", "q"), "\x1b[?1049l$ ", *keys("ls"), ("typed", "\r"), "\r\n")
    assert got == "#ls\r"


def test_keys_that_never_see_an_echo_are_masked_after_a_while() -> None:
    masking = Masking(80)
    masking.take([Input(b"secret")])
    assert told(masking.take([Output(b"x" * 1000 + b"\r\n")] * 300)) == "######"


letters = st.text("abcé日🙂 -*/", min_size=1, max_size=12)


@given(st.lists(st.text("abc12*", min_size=1, max_size=8), min_size=1, max_size=4), st.data())
def test_what_is_typed_without_echo_is_never_written(secrets: list[str], draw: st.DataObject) -> None:
    """Whatever a program says meanwhile in characters of its own, and however the packets are cut."""
    masking = Masking(80)
    written: list[Event] = []
    for secret in secrets:
        written += masking.take([Output(b"Password: ")])
        for part in cut((secret + "\r").encode(), draw):
            written += masking.take([Input(part)])
            written += masking.take([Output(draw.draw(st.text("xyz \x1b[mJ\r\n", max_size=8)).encode())])
    written += masking.finish()
    assert set(told(written)) <= {"#", "\r"}
    assert len(told(written)) == sum(len(secret) + 1 for secret in secrets)


@given(
    st.text("abc", min_size=1, max_size=6),
    st.text("abc ", min_size=1, max_size=8),
    st.sampled_from(["\r\n", ""]),
)
def test_letters_of_a_secret_are_not_told_by_the_echo_of_the_same_letters_in_what_follows(
    secret: str, command: str, feed: str
) -> None:
    """Also after `read -s`, which leaves the Enter without an answer."""
    got = converse("Secret: ", *keys(secret, lambda _: ""), ("typed", "\r"), f"{feed}$ ",
                   *keys(command), ("typed", "\r"), "\r\n")  # fmt: skip
    if not command.endswith(secret) or feed:
        assert got == "#" * len(secret) + "\r" + command + "\r"


@given(st.lists(letters, min_size=1, max_size=5), st.data())
def test_what_a_cooked_terminal_echoes_is_told_when_its_line_ends(
    lines: list[str], draw: st.DataObject
) -> None:
    masking = Masking(80)
    written: list[Event] = []
    for line in lines:
        for part in cut(line.encode() + b"\r", draw):
            written += masking.take([Input(part)])
        for part in cut(line.encode() + b"\r\n", draw):
            written += masking.take([Output(part)])
        assert told(written).endswith(line + "\r")
    assert told(written) == "".join(line + "\r" for line in lines)


@given(
    st.lists(st.one_of(st.builds(Input, st.binary(max_size=20)), st.builds(Output, st.binary(max_size=30))))
)
def test_every_byte_is_accounted_for_in_order_and_nothing_is_made_up(events: list[Event]) -> None:
    """Also for bytes that are no text, no keys and no sequences; the reader agrees with the account."""
    masking = Masking(20)
    batches = [masking.take([event]) for event in events] + [masking.finish()]
    given_ = b"".join(event.data for event in events if isinstance(event, Input))
    at = 0
    for event in (event for batch in batches for event in batch):
        match event:
            case Input(data):
                assert given_[at : at + len(data)] == data
                at += len(data)
            case Masked(count):
                at += count
    assert at == len(given_)
    lines = cast(batches)
    reader, _ = read(lines)
    assert reader.seal is not None and reader.untold == 0
    assert reader.seal.session.input_bytes == len(given_)
    assert verify(lines).state == "sealed"


def cut(data: bytes, draw: st.DataObject) -> list[bytes]:
    places = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=5)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@contextmanager
def program(*command: str, columns: int = 80) -> Iterator[Callable[[str], tuple[str, str]]]:
    """A program on a terminal of its own: call it with keys for what is told, and what was shown."""
    main, side = pty.openpty()
    termios.tcsetwinsize(side, (24, columns))
    environment = {
        "PATH": os.environ["PATH"],
        "TERM": "xterm-256color",
        "PS1": "$ ",
        "LC_ALL": "C.UTF-8",
        "HISTFILE": "",
    }
    process = subprocess.Popen(
        command, stdin=side, stdout=side, stderr=side, start_new_session=True, env=environment, close_fds=True
    )
    os.close(side)
    masking = Masking(columns)

    def drain() -> tuple[str, str]:
        known, shown = "", b""
        while select.select([main], [], [], 0.15)[0]:
            try:
                data = os.read(main, 4096)
            except OSError:
                break
            known += told(masking.take([Output(data)]))
            shown += data
        return known, shown.decode(errors="replace")

    def send(typed: str) -> tuple[str, str]:
        known = told(masking.take([Input(typed.encode())]))
        os.write(main, typed.encode())
        more, shown = drain()
        return known + more, shown

    try:
        drain()
        yield send
    finally:
        os.close(main)
        process.kill()
        process.wait()


def test_real_bash_tells_commands_and_masks_what_read_s_asks_for() -> None:
    with program("bash", "--norc", "--noprofile", "-i") as send:
        assert send("read -s -p 'Password: ' secret\r")[0] == "read -s -p 'Password: ' secret\r"
        known, shown = send("hunter2")
        assert known == ""
        known, _ = send("\r")
        following, shown = send('echo "${#secret} letters"\r')
        assert "7 letters" in shown
        assert (known + following) == '#######\recho "${#secret} letters"\r'


def test_real_bash_tells_long_lines_edited_ones_and_those_of_several_rows() -> None:
    with program("bash", "--norc", "--noprofile", "-i", columns=30) as send:
        text = "echo " + "abcdefghij " * 6
        assert "".join(send(char)[0] for char in text) + send("\r")[0] == text + "\r"
        assert send("ec\x7fcho one\x1b[D\x1b[Dx\r")[0].endswith("\r")
        assert send("echo ab\r")[0] == "echo ab\r"


def test_real_shell_without_line_editing_tells_what_the_terminal_echoes() -> None:
    with program("sh", "-c", "cat; stty -echo; read secret; stty echo; echo got; cat") as send:
        assert send("one\rtwo\r")[0] == "one\rtwo\r"
        assert send("é日\x7fx\r")[0].endswith("x\r")
        send("\x04")
        time.sleep(0.1)
        assert send("hunter2\r")[0].startswith("#######")
        assert send("in the clear\r")[0] == "in the clear\r"


async def test_count_is_in_the_file_before_the_echo_and_survives_a_crash(folder: Path) -> None:
    """The file as it stands when the server dies between the key and its echo."""
    header = Header(started_at=STARTED, columns=80, rows=24, terminal="xterm", facts=FACTS, input="masked")
    store = await Store.open(folder, key=KEY)
    try:
        recording = await store.begin(header)
        await recording.append([Output(b"Password: ")])
        await recording.append([Input(b"hunter2")])
        copy = folder / "copy.cast"
        copy.write_bytes(recording.path.read_bytes())
        await recording.seal("exited", 0)
    finally:
        await store.close()
    account = seal_unsealed(copy, key=KEY, trusted=(), ending="interrupted")
    assert account.input_bytes == 7
    for path in (copy, recording.path):
        assert b"hunter" not in path.read_bytes()
        with open_recording(path) as reader:
            events = [entry.event for entry in reader]
            assert (reader.untold, reader.header.input) == (0, "masked")
        assert events[-2:] == [Typed(7), Masked(7)]


async def test_without_a_terminal_input_is_data_and_kept_exactly(folder: Path) -> None:
    store = await Store.open(folder, key=KEY)
    try:
        header = Header(started_at=STARTED, columns=80, rows=24, terminal=None, facts=FACTS, input="masked")
        recording = await store.begin(header)
        await recording.append([Input(b"\x00data"), Output(b"x")])
        await recording.seal("exited", 0)
    finally:
        await store.close()
    with open_recording(recording.path) as reader:
        assert next(iter(reader)).event == Input(b"\x00data")


async def test_none_keeps_only_the_length_of_the_input(folder: Path) -> None:
    store = await Store.open(folder, key=KEY)
    try:
        header = Header(started_at=STARTED, columns=80, rows=24, terminal=None, facts=FACTS, input="none")
        recording = await store.begin(header)
        await recording.append([Input(b"data"), Input(b""), Output(b"x")])
        await recording.seal("exited", 0)
        row = await store.index.find(recording.id)
        assert row.input_bytes == 4
    finally:
        await store.close()
    with open_recording(recording.path) as reader:
        assert [entry.event for entry in reader] == [Masked(4), Output(b"x")]


def test_more_input_than_was_typed_breaks_the_format() -> None:
    with pytest.raises(FormatError, match="more input than was typed"):
        read(cast([[Typed(1), Masked(2)]]))
