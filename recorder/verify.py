"""Judges whether a recording is as it was written. Needs the file and a public key: no server, no database, no clock.

The procedure:

1. The first line is a header of ours.
2. Each line is of the format, and the hash chain goes over all of them.
3. The tags in each tag line are those of the lines before it. The first that differs names the line.
4. Each checkpoint's signature holds, for this recording, and states the chain as it is here; its key was not retired
   by then.
5. The last line is a seal, whose signature holds in the same way, and nothing follows it.

A change without the key breaks 3; one that computes chain and tags anew breaks 4 or 5, unless it only takes lines
away from the end of an unsealed recording: then 5 fails, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from recorder.at_rest import Identity, open_plain
from recorder.errors import FormatError
from recorder.examine import Examination, examine
from recorder.keys import VerifyKey, by_id
from recorder.names import SessionId, is_encrypted
from recorder.statements import Seal

State = Literal["sealed", "unsealed", "changed", "unknown key", "not a recording", "encrypted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What verification found.

    "sealed": whole and unchanged. "unsealed": what is there is unchanged as far as it is signed (*signed_lines*), but
    the end is missing: the session still runs, its server died and has not been started since, or the tail was cut.
    "changed": a change lies between line *first* and line *last* (equal where the line is known). "unknown key": signed
    with a key that was not among those given, so nothing is known. "encrypted": only looked at from outside
    (`label_check`); *signed_lines* is 0 then, and *seal*, *lines* and *chain* are what the label says.
    """

    state: State
    reason: str
    id: SessionId | None
    key_id: str | None
    lines: int
    signed_lines: int
    first: int | None = None
    last: int | None = None
    seal: Seal | None = None
    chain: str = ""
    """The chain value over all lines, in hex."""
    is_to_be_encrypted: bool = False
    """Whether it is plain, and its header says that it is not to stay so."""

    @property
    def is_intact(self) -> bool:
        """Whether nothing was changed and nothing is missing."""
        return self.state == "sealed"


def verify_file(
    path: Path,
    keys: Iterable[VerifyKey],
    identities: Sequence[Identity] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> Verdict:
    """Verify the recording at *path* with those *keys* that are trusted, retired ones among them.

    *identities* decrypt it where it is encrypted; *progress* is told now and then how many bytes have been read.
    """
    try:
        with open_plain(path, identities) as file:
            verdict = _judge(examine(file, by_id(keys), progress=progress))
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from error
    return replace(verdict, is_to_be_encrypted=False) if is_encrypted(path) else verdict


def _judge(found: Examination) -> Verdict:
    state: State
    first = last = None
    if found.opening is None and not found.has_evidence:
        state, reason = "not a recording", "the file has neither a header nor any evidence of ours"
    elif found.fault is not None:
        state, reason = "changed", found.fault.reason
        first, last = found.fault.first, found.fault.last
    elif found.unknown_keys:
        state = "unknown key"
        reason = f"signed with key {', '.join(found.unknown_keys)}, which is not among the keys given"
    elif found.seal is not None:
        state, reason = "sealed", f"all {found.chain.lines} lines are as they were written"
        if found.seal.session.recovery is not None:
            reason += (
                f"; lines 1 to {found.seal.session.recovery.signed_lines} were signed while the session ran,"
                " the rest when its end was repaired"
            )
    else:
        state = "unsealed"
        reason = (
            f"lines 1 to {found.signed_lines} of {found.chain.lines} are as they were signed, but the end is missing:"
            " the session still runs, its server died, or the tail was cut"
        )
    return Verdict(
        state=state,
        reason=reason,
        id=found.opening.id if found.opening else None,
        key_id=found.opening.key_id if found.opening else None,
        lines=found.chain.lines,
        signed_lines=found.signed_lines,
        first=first,
        last=last,
        seal=found.seal,
        chain=found.chain.value.hex(),
        is_to_be_encrypted=found.opening is not None and found.opening.header.encrypt,
    )
