"""Going into a target from the picker: level by level, back again, and what is not worth a question."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bastion.connectors.levels import Level, Place
from bastion.errors import TargetError
from bastion.ssh import picker_levels
from bastion.ssh.picker_levels import pick_inside
from tests.recorder.scripted_terminal import ScriptedTerminal, start

TREE = {
    "": ("namespace", "shop", "lab"),
    "shop": ("pod", "shop/api", "shop/worker"),
    "lab": ("pod", "lab/only"),
    "lab/only": ("container", "lab/only:main", "lab/only:proxy"),
}


class Keyboard(ScriptedTerminal):
    """A terminal that takes keys back."""

    def unread(self, data: bytes) -> None:
        if data:
            later = [self._typed.get_nowait() for _ in range(self._typed.qsize())]
            for each in (data, *later):
                self.type(each)


def level(path: str, tree: Mapping[str, tuple[str, ...]] = TREE) -> Level | None:
    if path not in tree:
        return None
    kind, *paths = tree[path]
    places = (Place(name=each.rpartition("/")[2].rpartition(":")[2], path=each) for each in paths)
    return Level(kind=kind, places=tuple(places))


async def inside(terminal: Keyboard) -> str | None:
    async def ask(path: str) -> Level | None:
        return level(path)

    return await pick_inside(terminal, ask, address="ada@prod", heading="prod", ssh_command="ssh -t bastion")


async def test_each_level_is_picked_in_turn_and_typed_ahead_for() -> None:
    assert await inside(Keyboard(b"shop\rwork\r")) == "shop/worker"


async def test_a_level_of_one_place_is_not_asked_about() -> None:
    assert await inside(Keyboard(b"lab\r", b"proxy\r")) == "lab/only:proxy"


async def test_escape_goes_back_a_level_and_from_the_first_to_the_targets() -> None:
    terminal = Keyboard(b"lab\r")
    picking = start(inside(terminal))
    for seen in ("choose a container", "choose a namespace"):
        await terminal.until(seen)
        await terminal.until("Esc back")
        terminal.take()
        terminal.type(b"\x1b")
    assert await picking is None


async def test_the_command_to_copy_names_the_place() -> None:
    terminal = Keyboard()
    picking = start(inside(terminal))
    await terminal.until("$ ssh -t bastion ada@prod/shop")
    assert "prod: choose a namespace" in terminal.text()
    assert "Esc back" in terminal.text()
    terminal.type(b"")
    assert await picking is None


async def test_without_a_moving_cursor_places_have_numbers() -> None:
    assert await inside(Keyboard(b"1\r", b"2\r", term="dumb")) == "shop/worker"


async def test_a_person_who_waits_is_told_for_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picker_levels, "_PATIENCE", 0)
    terminal = Keyboard()

    async def ask(path: str) -> Level | None:
        await terminal.until("bastion: asking what there is in prod")
        return None

    assert await pick_inside(terminal, ask, address="prod", heading="prod", ssh_command="ssh") == ""


async def test_what_cannot_be_asked_is_raised_as_it_is_and_nothing_to_choose_from_too() -> None:
    async def fails(path: str) -> Level | None:
        raise TargetError("prod does not answer")

    async def empty(path: str) -> Level | None:
        return Level(kind="namespace", places=())

    with pytest.raises(TargetError, match="does not answer"):
        await pick_inside(Keyboard(), fails, address="prod", heading="prod", ssh_command="ssh")
    with pytest.raises(TargetError, match="no namespace in prod"):
        await pick_inside(Keyboard(), empty, address="prod", heading="prod", ssh_command="ssh")
