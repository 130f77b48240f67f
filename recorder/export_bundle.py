"""A recording as evidence: one zip of the recording as it is, public keys, and how to verify in plain words."""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from recorder.at_rest import Identity, open_plain
from recorder.errors import FormatError
from recorder.export import Progress, silent
from recorder.header import Header, title_of
from recorder.keys import VerifyKey
from recorder.reader import open_recording
from recorder.verify import Verdict, verify_file

_BLOCK = 1024 * 1024

_README = """\
EVIDENCE OF A SESSION

    session   {id}
    what      {title}
    started   {started}
    ending    {ending}
    verified  {state}, when this was packed: {reason}

What is in here

    {id}.cast      the recording, as it was written. An asciicast v2 file: `asciinema play {id}.cast` shows it.
    keys/*.pub       public keys of the recorder (Ed25519, PEM).
    seal.json        what the recording's header and seal say, and what verification found.
    SHA256SUMS       digests of these files. Check: sha256sum --check SHA256SUMS

How to verify

1. Install the program (it needs neither a server nor a network), unpack this file, and run in its folder:

       bastion verify {keys} {id}.cast

   It must say "sealed" and end with status 0. It names the first line that was changed, dropped, added or moved.

2. Do not trust the key in here because it is in here. Compare it with the one that the people who run the bastion
   published, or that you kept from earlier:

{key_list}

   A key id is made from the public key itself; `bastion verify` tells it.

3. Without the program: docs/recording-format.md of its source says how the file is made, so that anybody can write a
   verifier (SHA-256 over the lines, Ed25519 signatures).

What it proves

That the file is as the holder of the recorder's key wrote it, from the first line to the seal. It does not prove that
the holder was honest, nor that there are no other sessions. Input that was masked is not in it.
"""


def write_bundle(
    path: Path,
    out: BinaryIO,
    *,
    keys: Sequence[VerifyKey],
    progress: Progress = silent,
    identities: Sequence[Identity] = (),
) -> Verdict:
    """Write the zip to *out* and say what verification found; FormatError when *path* is no recording.

    An encrypted recording is in it as it was before, opened with *identities*.
    """
    verdict = verify_file(path, keys, identities)
    if verdict.id is None:
        raise FormatError(f"{path} is no recording: {verdict.reason}")
    with open_recording(path, identities) as reader:
        header = reader.header
    name = verdict.id
    stamp = time.gmtime(max(header.started_at, 315_532_800))[:6]  # zip knows no time before 1980
    sums = []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:

        def put(member: str, content: bytes) -> None:
            bundle.writestr(_entry(f"{name}/{member}", stamp), content)
            sums.append(f"{hashlib.sha256(content).hexdigest()}  {member}\n")

        put("README.txt", _readme(name, header, verdict, keys).encode())
        for key in keys:
            put(f"keys/{key.id}.pub", key.pem())
        put("seal.json", _seal(header, verdict))
        digest = hashlib.sha256()
        with (
            open_plain(path, identities) as file,
            bundle.open(_entry(f"{name}/{name}.cast", stamp), "w", force_zip64=True) as member,
        ):
            while block := file.read(_BLOCK):
                member.write(block)
                digest.update(block)
                progress(file.tell())
        sums.append(f"{digest.hexdigest()}  {name}.cast\n")
        bundle.writestr(_entry(f"{name}/SHA256SUMS", stamp), "".join(sums))
    return verdict


def _entry(name: str, stamp: tuple[int, ...]) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, stamp)  # type: ignore[arg-type]
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o100600 << 16
    return entry


def _readme(name: str, header: Header, verdict: Verdict, keys: Sequence[VerifyKey]) -> str:
    return _README.format(
        id=name,
        title=title_of(header.facts) or "-",
        started=datetime.fromtimestamp(header.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        ending=verdict.seal.session.ending if verdict.seal else "no seal: it ran, or its server had died",
        state=verdict.state,
        reason=verdict.reason,
        keys=" ".join(f"--key keys/{key.id}.pub" for key in keys),
        key_list="\n".join(f"       {key.id}" for key in keys),
    )


def _seal(header: Header, verdict: Verdict) -> bytes:
    facts = {
        "id": verdict.id,
        "key": verdict.key_id,
        "started_at": header.started_at,
        "terminal": header.terminal,
        "input": header.input,
        "redacted": header.redacted,
        "facts": dict(header.facts),
        "verdict": verdict.state,
        "reason": verdict.reason,
        "lines": verdict.lines,
        "signed_lines": verdict.signed_lines,
        "seal": verdict.seal,
    }
    return msgspec.json.format(msgspec.json.encode(facts), indent=2) + b"\n"
