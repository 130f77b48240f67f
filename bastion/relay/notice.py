"""Our own words to the person in a session, recorded like everything they see."""

from __future__ import annotations

from bastion.relay.client import Listener
from bastion.runtime.logs import printable
from bastion.sessions.session import AdmittedSession
from recorder.events import ErrorOutput, Event, Noted, Output


async def tell(client: Listener, session: AdmittedSession, text: str) -> None:
    """Show the person a line of ours. Raises RecordingFailed, and then nothing was shown.

    Does not wait for a client that reads nothing: whoever has something to tell has a clock to keep.
    """
    event = notice(client, text)
    await session.recording.append([Noted(text), event])
    client.put([event])


def notice(client: Listener, text: str) -> Event:
    """*text* as a line on the client's terminal, or on its stderr where it has none."""
    lines = [f"bastion: {printable(line)}" for line in text.splitlines()]
    if client.request.pty is not None:
        return Output("".join(f"\r{line}\r\n" for line in lines).encode())
    return ErrorOutput("".join(f"{line}\n" for line in lines).encode())
