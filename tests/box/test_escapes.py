"""Every way out of psql, typed at a terminal: in the box none leads anywhere; without it they do, so this can fail."""

from __future__ import annotations

import re
from pathlib import Path

from recorder.events import Exited
from tests.box.conversation import Conversation, Psql
from tests.box.escapes import ESCAPES, OUTSIDE, Escape
from tests.rig.postgres import Postgres


class Attempts:
    """What an attempt needs outside, and whether it got there."""

    def __init__(self, folder: Path, server: Postgres) -> None:
        self.folder = folder
        self.server = server
        self.history = folder / "history"
        self.secret = folder / "secret"
        self.secret.write_text(f"\\echo {OUTSIDE}\n")

    async def attempt(self, escape: Escape, psql: Conversation) -> str:
        """What it shows."""
        lines = [
            line.format(
                mark=self.mark(escape), secret=self.secret, folder=self.folder,
                port=self.server.port, servers=self.server.folder,
            )
            for line in escape.lines
        ]  # fmt: skip
        return await psql.ask(*lines)

    def mark(self, escape: Escape) -> Path:
        return self.folder / f"mark-{ESCAPES.index(escape)}"

    def got_out(self, escape: Escape, printed: str) -> bool:
        return self.mark(escape).exists() or bool(escape.shown and re.search(escape.shown, printed))


async def test_no_escape_leads_out_of_the_box(psql: Psql, server: Postgres, tmp_path: Path) -> None:
    attempts = Attempts(tmp_path, server)
    async with psql.inside("-v", f"HISTFILE={attempts.history}") as conversation:
        printed = {escape: await attempts.attempt(escape, conversation) for escape in ESCAPES}
        assert "still the same 1" in await conversation.ask("SELECT 'still the same ' || 1;")
        assert 'via socket in "/s"' in await conversation.ask(r"\conninfo")
        assert await conversation.leave() == Exited(0)
    assert [escape.name for escape in ESCAPES if attempts.got_out(escape, printed[escape])] == []
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert [path.name for path in psql.sockets.iterdir()] == [".s.PGSQL.5432"]


async def test_every_escape_leads_out_where_there_is_no_box(
    psql: Psql, server: Postgres, tmp_path: Path
) -> None:
    attempts = Attempts(tmp_path, server)
    failed = []
    for escape in ESCAPES:
        async with psql.outside(tmp_path, "-v", f"HISTFILE={attempts.history}") as conversation:
            printed = await attempts.attempt(escape, conversation)
            await conversation.leave()
        if not attempts.got_out(escape, printed) and not escape.is_fixed:
            failed.append((escape.name, printed[-300:]))
    assert failed == []
    assert attempts.history.exists()
