"""A verdict on one recording, in a word for people: is it good, or what is wrong with it?

Beside the evidence in the file (`verify`) it looks at what stands around it: its name, and whether it is being written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from recorder.at_rest import Identity
from recorder.catalog import is_live
from recorder.errors import FormatError, NoIdentityFits, RecorderKeyError
from recorder.keys import VerifyKey
from recorder.label import label_beside
from recorder.label_check import verify_labelled
from recorder.names import id_in, is_encrypted, is_id
from recorder.verify import Verdict, verify_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found out about one recording."""

    name: str
    path: Path
    is_good: bool
    state: str
    reason: str
    verdict: Verdict | None = None


def inspect(
    path: Path,
    keys: Iterable[VerifyKey],
    identities: Sequence[Identity] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> Finding:
    """Verify the recording at *path*; an encrypted one from outside, and with one of *identities* also from inside.

    FormatError when it cannot be read; RecorderKeyError when it is encrypted, has no label and no identity fits.
    """
    keys = list(keys)
    verdict = (
        _inspect_encrypted(path, keys, identities)
        if is_encrypted(path)
        else verify_file(path, keys, (), progress)
    )
    stem = id_in(path)
    state, reason, is_good = str(verdict.state), verdict.reason, verdict.state in ("sealed", "encrypted")
    if verdict.id is not None and is_id(stem) and verdict.id != stem:
        state, reason, is_good = (
            "changed",
            f"the file is named {stem}, but it is the recording {verdict.id}",
            False,
        )
    elif verdict.state == "unsealed" and is_live(path):
        state, reason, is_good = (
            "live",
            f"lines 1 to {verdict.signed_lines} are as they were signed; it still runs",
            True,
        )
    return Finding(
        name=verdict.id or str(path), path=path, is_good=is_good, state=state, reason=reason, verdict=verdict
    )


def inspect_kept(
    path: Path,
    keys: Iterable[VerifyKey],
    identities: Sequence[Identity] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> Finding:
    """The same, of a recording where the recorder keeps it; says too if it should not be plain any more."""
    finding = inspect(path, keys, identities, progress)
    if finding.state == "sealed" and finding.verdict is not None and finding.verdict.is_to_be_encrypted:
        return replace(finding, reason=f"{finding.reason}; it is to be encrypted, and is not yet")
    return finding


def _inspect_encrypted(path: Path, keys: Sequence[VerifyKey], identities: Sequence[Identity]) -> Verdict:
    """What is known of an encrypted recording: what is in it, if that can be read, unless its label says otherwise."""
    outside = verify_labelled(path, keys) if label_beside(path).exists() else None
    if outside is None:
        return verify_file(path, keys, identities)
    try:
        inside = verify_file(path, keys, identities)
    except NoIdentityFits:
        reason = f"{outside.reason} (no identity that was named fits)"
        return replace(outside, reason=reason) if outside.state == "encrypted" else outside
    except RecorderKeyError:  # there is none
        return outside
    except FormatError as error:
        return (
            outside if outside.state == "changed" else replace(outside, state="changed", reason=error.message)
        )
    if not inside.is_intact or outside.state == "encrypted":
        return inside
    reason = f"what is in it is as it was written, but not what is known without a key: {outside.reason}"
    return replace(inside, state=outside.state, reason=reason)
