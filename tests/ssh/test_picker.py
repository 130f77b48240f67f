"""The picker as a conversation over a terminal in memory: keys in, bytes out, a choice."""

from __future__ import annotations

import asyncio

import pytest

from bastion.ssh.picker import Entry, pick
from bastion.ssh.picker_view import ENTER_SCREEN, LEAVE_SCREEN
from tests.recorder.scripted_terminal import GoneTerminal, ScriptedTerminal, start

WEB_1 = Entry(name="web-1", description="Front", logins=("deploy", "root"), labels={"env": "prod"})
WEB_2 = Entry(name="web-2", description="Back", logins=("deploy", "root", "ubuntu"))
DB = Entry(name="db-1", kind="postgres", description="Orders \x1b]0;pwned\x07\x9b2J", logins=("reader",))
ENTRIES = (WEB_1, WEB_2, DB)


async def test_enter_takes_the_first_entry_with_its_first_login() -> None:
    choice = await pick(ScriptedTerminal(b"\r"), ENTRIES, heading="ada")
    assert choice and (choice.entry, choice.login) == (WEB_1, "deploy")


async def test_typing_filters_and_arrows_move() -> None:
    choice = await pick(ScriptedTerminal(b"web", b"\x1b[B", b"\r"), ENTRIES, heading="ada")
    assert choice and choice.entry is WEB_2


async def test_tab_takes_the_next_login_and_back_tab_the_one_before() -> None:
    choice = await pick(ScriptedTerminal(b"web-2\t\t\t\x1b[Z\r"), ENTRIES, heading="ada")
    assert choice and (choice.entry, choice.login) == (WEB_2, "ubuntu")


async def test_bytes_after_enter_are_given_back_and_no_further_read_begins() -> None:
    """Whatever follows in the same packet is for the session."""
    terminal = ScriptedTerminal(b"db\rselect 1;\r", b"more")
    choice = await pick(terminal, ENTRIES, heading="ada")
    assert choice and choice.entry is DB
    assert choice.typed_ahead == b"select 1;\r"
    assert terminal.reads == 1


@pytest.mark.parametrize("leave", [b"\x03", b"\x04", b"q", b"\x1b", b"\x1b\x1b", b"web\x03", b"", b"?\x03"])
async def test_leaving_picks_nothing(leave: bytes) -> None:
    terminal = ScriptedTerminal(leave)
    assert await pick(terminal, ENTRIES, heading="ada") is None
    assert terminal.written.endswith(LEAVE_SCREEN)


async def test_q_filters_when_a_name_begins_with_it() -> None:
    queue = Entry(name="queue-1")
    choice = await pick(ScriptedTerminal(b"q\r"), (*ENTRIES, queue), heading="ada")
    assert choice and choice.entry is queue


async def test_an_arrow_split_over_packets_is_no_escape() -> None:
    choice = await pick(ScriptedTerminal(b"\x1b", b"[", b"B", b"\r"), ENTRIES, heading="ada")
    assert choice and choice.entry is WEB_2


async def test_escape_closes_the_keys_and_then_leaves() -> None:
    terminal = ScriptedTerminal(b"?")
    picking = start(pick(terminal, ENTRIES, heading="ada"))
    await terminal.until("Ctrl-U")
    terminal.type(b"\x1b")
    await terminal.until("web-2")
    terminal.type(b"\x1b")
    assert await picking is None


async def test_the_screen_is_left_as_it_was_found() -> None:
    terminal = ScriptedTerminal(b"\r")
    await pick(terminal, ENTRIES, heading="ada")
    assert terminal.written.startswith(ENTER_SCREEN)
    assert terminal.written.endswith(LEAVE_SCREEN)
    assert terminal.resized is None


async def test_nothing_from_the_data_reaches_the_terminal_as_a_control_character() -> None:
    hostile = Entry(
        name="web\x1b[2J", description="a\x9b5n\u202eb", logins=("ro\x07ot",), labels={"k\r": "v\n"}
    )
    terminal = ScriptedTerminal(b"\x0c")
    picking = start(
        pick(terminal, [hostile], heading="a\x1bcda", notice="gone\x07 away", ssh_command="ssh\x1b]0;x\x07")
    )
    await terminal.until("? keys")
    terminal.type(b"\x03")
    assert await picking is None
    text = terminal.text()
    assert "web�[2J" in text
    assert [c for c in text if not c.isprintable()] == []


async def test_a_resize_while_open_draws_all_of_it_again() -> None:
    terminal = ScriptedTerminal()
    picking = start(pick(terminal, ENTRIES, heading="ada"))
    await terminal.until("Esc leave")
    terminal.take()
    terminal.resize(20, 5)
    await terminal.until("deploy@web-1")
    assert b"\x1b[2J" in terminal.written
    assert b"\x1b[6;" not in terminal.written
    terminal.type(b"\r")
    assert await picking


async def test_a_key_repaints_only_the_lines_that_changed() -> None:
    terminal = ScriptedTerminal()
    picking = start(pick(terminal, ENTRIES, heading="ada"))
    await terminal.until("Esc leave")
    terminal.take()
    terminal.type(b"\x1b[B")
    await terminal.until("deploy@web-2")
    assert terminal.take().count(b"\x1b[2K") == 3  # two rows and the command
    terminal.type(b"\x03")
    await picking


async def test_cancelling_restores_the_screen_and_leaves_no_task() -> None:
    terminal = ScriptedTerminal()
    picking = start(pick(terminal, ENTRIES, heading="ada"))
    await terminal.until("web-2")
    picking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await picking
    assert terminal.written.endswith(LEAVE_SCREEN)
    assert terminal.resized is None
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelling_does_not_wait_for_a_client_that_reads_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recorder.terminal.screen.RESTORE_DEADLINE", 0.01)
    terminal = ScriptedTerminal()
    picking = start(pick(terminal, ENTRIES, heading="ada"))
    await terminal.until("web-2")
    terminal.blocks = True
    picking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await picking


@pytest.mark.parametrize("term", ["xterm", "dumb"])
async def test_a_terminal_that_is_gone_picks_nothing(term: str) -> None:
    assert await pick(GoneTerminal(term=term), ENTRIES, heading="ada") is None
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_end_of_input_ends_a_picker_that_cannot_draw() -> None:
    terminal = ScriptedTerminal()
    picking = start(pick(terminal, ENTRIES, heading="ada"))
    await terminal.until("web-2")
    terminal.blocks = True
    terminal.type(b"x")
    await terminal.is_blocked.wait()
    terminal.blocks = False
    terminal.type(b"")
    assert await picking is None


async def test_many_pickers_run_side_by_side() -> None:
    terminals = [ScriptedTerminal() for _ in range(50)]
    pickings = [start(pick(t, [Entry(name=f"t{i}"), WEB_2], heading="ada")) for i, t in enumerate(terminals)]
    for terminal in terminals:
        terminal.type(b"\r")
    names = [choice.entry.name for picking in pickings if (choice := await picking)]
    assert names == [f"t{i}" for i in range(50)]


async def test_no_entries_say_so() -> None:
    terminal = ScriptedTerminal(b"\r\x03")
    assert await pick(terminal, [], heading="ada") is None
    assert await pick(terminal := ScriptedTerminal(term="dumb"), [], heading="ada") is None
    assert "no target" in terminal.text()


@pytest.mark.parametrize("term", ["dumb", "", "unknown", "network", "emacs"])
async def test_a_terminal_nobody_knows_gets_a_numbered_list(term: str) -> None:
    terminal = ScriptedTerminal(b"2\r", term=term)
    choice = await pick(terminal, ENTRIES, heading="ada")
    assert choice and (choice.entry, choice.login) == (WEB_2, "deploy")
    assert b"\x1b" not in terminal.written
    assert "number or name: 2\r\n" in terminal.text()


@pytest.mark.parametrize(
    ("typed", "entry", "login"),
    [
        (b"db-1\r", DB, "reader"),
        (b"root@2\n", WEB_2, "root"),
        (b"ubuntu@web-2\r", WEB_2, "ubuntu"),
        (b"front\r1\r", WEB_1, "deploy"),
        (b"xx\x7f\x7f3\r", DB, "reader"),
        (b"nonsense\x153\r", DB, "reader"),
        (b"9\r2\r", WEB_2, "deploy"),
        (b"joe@web-1\r1\r", WEB_1, "deploy"),
        (b"\r?\rzzz\r3\r", DB, "reader"),
    ],
)
async def test_the_prompt_takes_numbers_names_logins_and_filters(
    typed: bytes, entry: Entry, login: str
) -> None:
    choice = await pick(ScriptedTerminal(typed, term="dumb"), ENTRIES, heading="ada")
    assert choice and (choice.entry, choice.login, choice.typed_ahead) == (entry, login, b"")


@pytest.mark.parametrize("leave", [b"q\r", b"\x03", b"\x04", b"w\x03", b""])
async def test_leaving_the_prompt_picks_nothing(leave: bytes) -> None:
    assert await pick(ScriptedTerminal(leave, term="dumb"), ENTRIES, heading="ada") is None


async def test_bytes_after_the_answer_are_given_back() -> None:
    choice = await pick(ScriptedTerminal(b"we", b"b-2\rls\r", term="dumb"), ENTRIES, heading="ada")
    assert choice and choice.typed_ahead == b"ls\r"


async def test_a_wide_character_is_rubbed_out_whole() -> None:
    terminal = ScriptedTerminal("東\x7f1\r".encode(), term="dumb")
    assert await pick(terminal, ENTRIES, heading="ada")
    assert "東\b \b\b \b1\r\n" in terminal.text()
