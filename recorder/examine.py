"""Goes over the lines of a recording once and finds what of its evidence holds.

Shared by verification, which judges, and recovery, which continues the chain. It reads files that somebody may have
tampered with: whatever stands in them is a finding, never a crash. Knows nothing of events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from recorder import lines
from recorder.chain import Chain, decode_tags
from recorder.errors import FormatError
from recorder.header import Opening, decode_opening
from recorder.keys import VerifyKey
from recorder.lines import LINE_LIMIT, Line, decode_line, encode_line
from recorder.statements import Seal, Signed, read_checkpoint, read_seal

_TOLD_EVERY = 4 << 20
"""Bytes after which progress is told."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something was changed, in the lines from *first* to *last* (the same where the line is known)."""

    first: int
    last: int
    reason: str


@dataclass(slots=True, kw_only=True)
class Examination:
    """What was found. *signed_lines* is up to where the last good signature reaches."""

    chain: Chain = field(default_factory=Chain)
    opening: Opening | None = None
    seal: Seal | None = None
    signed_lines: int = 0
    has_evidence: bool = False
    torn: int = 0
    fault: Fault | None = None
    unknown_keys: list[str] = field(default_factory=list)


def examine(
    file: BinaryIO,
    keys: Mapping[str, VerifyKey],
    end: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Examination:
    """Go over *file* from its start to the first fault or the end: its own, or that of the line that ends at *end*.

    *progress* is told now and then how many bytes have been read.
    """
    return _Examiner(keys).run(file, end, progress)


class _Examiner:
    def __init__(self, keys: Mapping[str, VerifyKey]) -> None:
        self._keys = keys
        self._found = Examination()
        self._misshapen: Fault | None = None  # the first line that cannot be read

    def run(self, file: BinaryIO, end: int | None, progress: Callable[[int], None]) -> Examination:
        found = self._found
        offset = told = 0
        while found.fault is None and offset != end and (raw := file.readline(LINE_LIMIT + 1)):
            offset += len(raw)
            if offset - told >= _TOLD_EVERY:
                told = offset
                progress(offset)
            number = found.chain.lines + 1
            if found.seal is not None:
                found.fault = Fault(number, number, "something was added after the seal")
            elif raw.endswith(b"\n"):
                self._take(number, raw)
            elif len(raw) > LINE_LIMIT:
                self._misshapen = self._misshapen or Fault(
                    number, number, "the line is longer than any we write"
                )
                break
            else:
                found.torn = len(raw)
        # Which of two faults is told: a tag names the line that was changed, and it comes later in the file.
        if self._misshapen is not None and (found.fault is None or self._misshapen.first < found.fault.first):
            found.fault = self._misshapen
        return found

    def _take(self, number: int, raw: bytes) -> None:
        found = self._found
        try:
            if number == 1:
                found.opening = decode_opening(raw)
            else:
                self._check(decode_line(number, raw), raw)
        except FormatError as error:
            self._misshapen = self._misshapen or Fault(number, number, error.message)
        found.chain.add(raw)

    def _check(self, line: Line, raw: bytes) -> None:
        self._found.has_evidence |= line.code in lines.EVIDENCE
        match line.code:
            case lines.TAGS:
                self._check_tags(line)
            case lines.CHECKPOINT:
                self._check_signed(line, read_checkpoint(line.data, line.number))
            case lines.SEAL:
                signed, seal = read_seal(line.data, line.number)
                self._check_signed(line, signed)
                if self._found.fault is None and not self._found.unknown_keys:
                    self._check_seal_line(line, seal, raw)
                self._found.seal = seal

    def _check_seal_line(self, line: Line, seal: Seal, raw: bytes) -> None:
        """No later line vouches for the last one, so all of it must follow from what it signs."""
        if raw != encode_line(round(seal.session.duration * 1_000_000), lines.SEAL, line.data):
            self._found.fault = Fault(line.number, line.number, "the line around the seal was changed")

    def _check_tags(self, line: Line) -> None:
        """Compare the tags with those of the lines as they stand now."""
        chain = self._found.chain
        first, tags = decode_tags(line.data, line.number)
        start = chain.first_untagged
        if not start <= first <= chain.lines:
            self._found.fault = Fault(start, line.number, "tags of other lines than those before it")
            return
        ours = chain.tags[first - start :]
        agree = [tag == own for tag, own in zip(tags, ours, strict=False)]
        if all(agree) and len(tags) == len(chain.tags):
            chain.take_tags()
        elif False not in agree:
            more = first + len(agree)  # lines that have no tag, or tags that have no line
            self._found.fault = Fault(more, more, "lines were added or dropped here")
        elif True in agree[(parted := agree.index(False)) :]:
            # Values after a changed line cannot come to agree again: it is this tag line that was changed.
            self._found.fault = Fault(line.number, line.number, "the tags were changed")
        else:
            at = first + parted
            self._found.fault = Fault(at, at, "this line was changed, dropped, inserted or moved")

    def _check_signed(self, line: Line, signed: Signed) -> None:
        found = self._found
        statement = signed.statement
        if (key := self._keys.get(statement.key)) is None:
            if statement.key not in found.unknown_keys:
                found.unknown_keys.append(statement.key)
            return
        if found.opening is not None and key.is_retired(found.opening.header.started_at + line.time):
            found.fault = Fault(
                found.signed_lines + 1,
                line.number,
                f"line {line.number} is signed with key {key.id} after it was retired",
            )
        elif not key.verifies(signed.signature, signed.message):
            found.fault = Fault(
                found.signed_lines + 1,
                line.number,
                f"the signature in line {line.number} is not by key {key.id}",
            )
        elif (statement.lines, statement.chain) != (found.chain.lines, found.chain.value.hex()):
            found.fault = Fault(
                found.signed_lines + 1, line.number, f"what was signed in line {line.number} were other lines"
            )
        elif found.opening is None or statement.id != found.opening.id:
            found.fault = Fault(line.number, line.number, f"the statement is about recording {statement.id}")
        else:
            found.signed_lines = found.chain.lines
