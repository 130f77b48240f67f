"""The order of things in one run of rsync: who says what when, in both directions.

One side sends: a list of files, then of each that is asked for its contents. The other one receives: it asks for files
and says what it does besides. Which is which the options say. What is read is told to a `Listener`, who knows what it
means; nothing here does.
"""

from __future__ import annotations

from typing import Protocol

from bastion.relay.rsync.agreement import Agreement, secluded
from bastion.relay.rsync.compression import Expander, expander_of
from bastion.relay.rsync.contents import Contents, read_blocks, read_compressed, read_plain, skip_sums
from bastion.relay.rsync.file_list import Entry, FileList
from bastion.relay.rsync.items import Item, read_item
from bastion.relay.rsync.list_reader import ListReader
from bastion.relay.rsync.wire import DELETED_COUNTS, DONE, FLIST_EOF, FLIST_OFFSET, Reading, Stream, Tag
from bastion.relay.sftp_packets import Unreadable
from bastion.sessions.rsync_options import Options, options_of

_MAX_RULE = 64 * 1024


class Listener(Protocol):
    """Hears what is read, while it passes."""

    def agreed(self, options: Options) -> None:
        """The options are known, and the run begins."""
        ...

    def listed(self, entries: list[Entry]) -> None:
        """The sender told of files."""
        ...

    def asked(self, entry: Entry, item: Item, *, again: bool) -> None:
        """The receiver asks for contents, or says what it does without any."""
        ...

    def begun(self, entry: Entry, contents: Contents) -> None:
        """The sender begins to send contents."""
        ...

    def ended(self, entry: Entry, contents: Contents, checksum: str) -> None:
        """All contents have been sent, and their checksum."""
        ...

    def over(self, *, has_failed: bool) -> None:
        """The sender has sent all there was; it *has_failed* if it could not read all that it was to."""
        ...

    def message(self, stream: Stream, tag: Tag, text: bytes, files: FileList | None) -> None:
        """Something was said beside all that."""
        ...


class Conversation:
    """One run, started by *words* behind rsync's name."""

    def __init__(self, words: list[str], listener: Listener) -> None:
        self.client, self.target = Stream("the client"), Stream("the target")
        self._words = words
        self._agreement = Agreement(options_of(words))
        self._listener = listener
        self._files: FileList | None = None
        self._readings = {self.client: self._client_says(), self.target: self._target_says()}

    def feed(self, stream: Stream, data: bytes) -> None:
        """Read on. Raises Unreadable, and `rest` of the stream then begins with what could not be read."""
        stream.feed(data)
        other = self.target if stream is self.client else self.client
        waited = -1
        while waited != (waited := self._agreement.steps):  # each may have waited for what the other one said
            for each in (stream, other):
                self._read(each)
        for each in (stream, other):
            each.settle()

    def _read(self, stream: Stream) -> None:
        try:
            next(self._readings[stream])
            while stream.messages:
                self._listener.message(stream, *stream.messages.popleft(), self._files)
        except Unreadable as error:
            raise Unreadable(f"{error}, from byte {stream.place:,} of {stream.side} on") from error

    @property
    def _options(self) -> Options:
        return self._agreement.options

    @property
    def _version(self) -> int:
        return self._agreement.version

    def _client_says(self) -> Reading[None]:
        stream, agreement = self.client, self._agreement
        if self._options.is_secluded:
            words = yield from secluded(stream)
            agreement.options = options_of([*self._words, *words[1:]])
        self._listener.agreed(self._options)
        yield from agreement.greeting_of_client(stream)
        if self._version >= 30:
            stream.frame()
        if self._options.direction == "download" or self._options.tells_rules(self._version):
            yield from self._rules(stream)
        if self._options.direction == "upload":
            yield from self._sends(stream)
        if self._options.files_from == "-":
            yield from self._names(stream, is_framed=self._version >= 30)
        yield from self._receives(stream)

    def _target_says(self) -> Reading[None]:
        stream = self.target
        yield from self._agreement.greeting_of_server(stream)
        stream.frame()
        if self._options.direction == "download":
            yield from self._sends(stream)
        if self._options.files_from not in ("", "-"):
            yield from self._names(stream, is_framed=True)
        yield from self._receives(stream)

    def _rules(self, stream: Stream) -> Reading[None]:
        """The filter rules."""
        while length := (yield from stream.integer()):
            if not 0 < length <= _MAX_RULE:
                raise Unreadable("a rule that is longer than any")
            yield from stream.skip(length)

    def _names(self, stream: Stream, *, is_framed: bool) -> Reading[None]:
        """The names of files that the sender is to list, told by the receiver (--files-from)."""
        if is_framed and self._version < 31:
            stream.frame(False)
        previous = 0
        while (byte := (yield from stream.byte())) or previous:
            previous = byte
        if is_framed and self._version < 31:
            stream.frame()

    def _index(self, stream: Stream) -> Reading[int]:
        if self._version >= 30:
            return (yield from stream.index())
        return (yield from stream.integer())

    def _sends(self, stream: Stream) -> Reading[None]:
        """All that the sender says, which never ends."""
        agreement = self._agreement
        files = self._files = FileList(agreement)
        lists = ListReader(stream, agreement, files)
        expander = expander_of(agreement.compression)
        entries = yield from lists.read(None)
        self._listener.listed(entries)
        yield from lists.read_owners()
        if not entries:  # the server leaves at once
            self._listener.over(has_failed=lists.has_failed)
        phase = 0
        while True:
            index = yield from self._index(stream)
            if index == DONE:
                if len(files.segments) > 1 and agreement.incremental:
                    files.drop()
                    continue
                phase += 1
                if phase == agreement.phases + 1:
                    if stream is self.target:
                        yield from self._statistics(stream)
                    self._listener.over(has_failed=lists.has_failed)
            elif index == DELETED_COUNTS:
                yield from self._deleted_counts(stream)
            elif index <= FLIST_OFFSET and agreement.incremental:
                self._listener.listed((yield from lists.read(FLIST_OFFSET - index)))
            elif index != FLIST_EOF or not agreement.incremental:
                yield from self._sent(stream, files, index, expander)

    def _sent(self, stream: Stream, files: FileList, index: int, expander: Expander | None) -> Reading[None]:
        item = yield from read_item(stream, self._agreement, with_values=True)
        if item.is_keepalive and self._version < 30:
            return
        segment, entry = files.find(index)
        if not item.has_contents:
            return
        blocks = yield from read_blocks(stream)
        contents = Contents(blocks.size if self._options.appends and index not in segment.sent else 0)
        self._listener.begun(entry, contents)
        if expander is None:
            yield from read_plain(stream, blocks, contents)
        else:
            yield from read_compressed(stream, blocks, contents, expander)
        checksum = yield from stream.take(self._agreement.checksum.size)
        segment.sent.add(index)
        self._listener.ended(entry, contents, self._agreement.checksum.told(checksum))

    def _receives(self, stream: Stream) -> Reading[None]:
        """All that the receiver says, which never ends."""
        while True:
            index = yield from self._index(stream)
            if index == DELETED_COUNTS:
                yield from self._deleted_counts(stream)
            elif index != DONE:
                yield from self._asked(stream, index)

    def _asked(self, stream: Stream, index: int) -> Reading[None]:
        item = yield from read_item(stream, self._agreement, with_values=False)
        if item.is_keepalive and self._version < 30:
            return
        if self._files is None:
            raise Unreadable("a file is asked for before any is listed")
        segment, entry = self._files.find(index)
        again = index in segment.sent
        self._listener.asked(entry, item, again=again)
        if item.is_wanted and self._options.has_sums:
            yield from skip_sums(stream, appends=self._options.appends and not again)

    def _deleted_counts(self, stream: Stream) -> Reading[None]:
        for _ in range(5):
            yield from stream.varint()

    def _statistics(self, stream: Stream) -> Reading[None]:
        for _ in range(5 if self._version >= 29 else 3):
            yield from stream.varlong(3) if self._version >= 30 else stream.longint()
