"""Judges an encrypted recording from outside: whether its bytes are those the recorder labelled. Needs no identity.

The procedure:

1. The label is of the format and of this recording; its signature holds, by a key that was not retired then.
2. The seal in it is a seal of this recording, and its signature holds.
3. The encrypted file has the size and the SHA-256 that the label states.

It says nothing about the lines inside: that takes an identity. The chain of seals tells whether the seal is the one
that was entered.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from recorder.errors import FormatError
from recorder.keys import VerifyKey, by_id
from recorder.label import LastLine, SignedLabel, label_beside, last_line_in, read_label
from recorder.names import SessionId
from recorder.verify import State, Verdict

_PIECE = 1024 * 1024


def verify_labelled(path: Path, keys: Iterable[VerifyKey]) -> Verdict:
    """Verify the encrypted file at *path* by the label beside it; FormatError when one of them cannot be read."""
    known = by_id(keys)
    try:
        found = read_label(label_beside(path))
        last = last_line_in(found.label)
        fault = label_fault(found, last, known)
        if not fault and found.label.key in known:
            fault = _file_fault(path, found)
    except OSError as error:
        raise FormatError(f"{error.filename} cannot be read: {error.strerror}") from error
    except FormatError as error:
        return Verdict(
            state="changed",
            reason=f"its label was changed: {error.message}",
            id=None,
            key_id=None,
            lines=0,
            signed_lines=0,
        )
    state, reason = _judged(fault, [key for key in (found.label.key, last.seal.key) if key not in known])
    return Verdict(
        state=state,
        reason=reason,
        id=SessionId(found.label.id),
        key_id=found.label.key,
        lines=last.seal.lines + 1,
        signed_lines=0,
        seal=last.seal,
        chain=last.chain,
    )


def _judged(fault: str, unknown: Sequence[str]) -> tuple[State, str]:
    if fault:
        return "changed", fault
    if unknown:
        which = ", ".join(dict.fromkeys(unknown))
        return "unknown key", f"labelled or sealed with key {which}, which is not among the keys given"
    return (
        "encrypted",
        "the encrypted file is as it was labelled; the lines in it are verified with --identity",
    )


def label_fault(found: SignedLabel, last: LastLine, keys: Mapping[str, VerifyKey]) -> str:
    """What is wrong with a label, *last* being the seal in it (steps 1 and 2); nothing where the keys are unknown."""
    label, seal = found.label, last.seal
    if seal.id != label.id:
        return f"its label is of {label.id}, with the seal of {seal.id}"
    if (key := keys.get(label.key)) is not None:
        if not key.verifies(found.signature, found.message):
            return f"its label was changed: the signature is not by key {key.id}"
        if key.is_retired(label.at):
            return f"its label is signed with key {key.id} after it was retired"
    if (key := keys.get(seal.key)) is not None and not key.verifies(
        last.signed.signature, last.signed.message
    ):
        return f"the seal in its label is not by key {key.id}"
    return ""


def _file_fault(path: Path, found: SignedLabel) -> str:
    """Step 3."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while piece := file.read(_PIECE):
            digest.update(piece)
    if (size, digest.hexdigest()) != (found.label.size, found.label.sha256):
        return "the encrypted file is not the one that was labelled"
    return ""
