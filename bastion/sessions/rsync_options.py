"""What of the words behind `rsync --server` changes how the two sides talk.

Clients put their choices into one word of letters, and into long options where there is no letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from policy.files import Direction

_WITH_VALUE = frozenset(
    {
        "--backup-dir",
        "--compare-dest",
        "--copy-dest",
        "--files-from",
        "--link-dest",
        "--log-file",
        "--partial-dir",
        "--temp-dir",
    }
)
"""Options whose value clients may send as the next word."""

_REMOVING = frozenset({"--remove-source-files", "--remove-sent-files"})
_CHANGING = _REMOVING | {"--log-file", "--only-write-batch", "--write-batch"}
"""Options with which a sender changes files, too."""

_COMPRESSIONS = {"--new-compress": "zlibx", "--old-compress": "zlib"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Of one run of rsync. *compress* is None where the sides agree on one of their own; "" without any."""

    direction: Direction
    paths: tuple[str, ...] = ()
    letters: frozenset[str] = frozenset()
    compress: str | None = ""
    checksums: tuple[str, ...] = ()  # of contents, and of the file list
    appends: bool = False
    deletes: bool = False
    removes_sources: bool = False
    changes_sender: bool = False
    deletes_excluded: bool = False
    numeric_ids: bool = False
    specials: bool = False
    files_from: str = ""
    keeps_order: bool = False
    only_batch: bool = False

    @property
    def is_secluded(self) -> bool:
        """Whether more words come over the connection."""
        return "s" in self.letters

    @property
    def devices(self) -> bool:
        return "D" in self.letters

    @property
    def is_trial(self) -> bool:
        """Whether no contents are sent (--dry-run, --only-write-batch)."""
        return self.only_batch or "n" in self.letters

    @property
    def has_sums(self) -> bool:
        """Whether the receiver tells of its old copies what the sender needs to know."""
        return "n" not in self.letters

    def tells_rules(self, version: int) -> bool:
        """Whether a client that sends tells its filter rules, too."""
        return "m" in self.letters or (self.deletes and (version >= 29 or not self.deletes_excluded))


def options_of(words: Sequence[str]) -> Options:
    """The options in *words*, which do not begin with rsync's own name."""
    letters, paths, values, ends = "", [], dict[str, str](), False
    rest = iter(words)
    for word in rest:
        if ends or not word.startswith("-") or word == "-":
            paths.append(word)
        elif word == "--":
            ends = True
        elif word.startswith("--"):
            name, _, value = word.partition("=")
            values[name] = next(rest, "") if word in _WITH_VALUE else value
        else:
            letters += word[1:].split("e", 1)[0]
    has_specials = "D" in letters and "--no-specials" not in values
    checksums = tuple(values.get("--checksum-choice", values.get("--cc", "auto")).split(","))
    if "--secluded-args" in values or "--protect-args" in values:
        letters += "s"
    return Options(
        direction="download" if "--sender" in values else "upload",
        paths=tuple(paths[1:]),
        letters=frozenset(letters),
        compress=_compression(letters, values),
        checksums=() if checksums == ("auto",) else checksums,
        appends="--append" in values,
        deletes=any(name.startswith("--delete") and name != "--delete-missing-args" for name in values)
        or "--del" in values,
        deletes_excluded="--delete-excluded" in values,
        removes_sources=not _REMOVING.isdisjoint(values),
        changes_sender=not _CHANGING.isdisjoint(values),
        numeric_ids="--numeric-ids" in values,
        specials=has_specials or "--specials" in values,
        files_from=values.get("--files-from", ""),
        keeps_order="--iconv" in values,
        only_batch="--only-write-batch" in values,
    )


def _compression(letters: str, values: dict[str, str]) -> str | None:
    for option, name in _COMPRESSIONS.items():
        if option in values:
            return name
    choice = values.get("--compress-choice", values.get("--zc", ""))
    if choice and choice != "auto":
        return "" if choice == "none" else choice
    return None if "z" in letters else ""
