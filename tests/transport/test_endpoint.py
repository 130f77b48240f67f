"""What an end of a session makes of the calls asyncssh makes: events in their order, joined but never changed."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from bastion.transport.endpoint import MERGE_LIMIT, ClientEnd, TargetEnd, merge
from bastion.transport.hooks import _ServerChannel
from recorder.events import ErrorOutput, Event, Exited, Input, InputEnded, Output, OutputEnded, Resized

EVENTS = st.lists(
    st.one_of(
        st.builds(Output, st.binary(min_size=1, max_size=50)),
        st.builds(ErrorOutput, st.binary(min_size=1, max_size=50)),
        st.just(OutputEnded()),
    )
)


def client() -> ClientEnd:
    return ClientEnd(lambda end: None)


def flat(events: list[Event]) -> list[tuple[type, int]]:
    """Each byte beside the stream it is of, in their order; other events as they stand."""
    return [
        (type(event), byte)
        for event in events
        for byte in (event.data if isinstance(event, (Output, ErrorOutput, Input)) else b"\0")
    ]


@given(EVENTS)
def test_merging_keeps_each_byte_in_its_stream_and_order(events: list[Event]) -> None:
    assert flat(merge(events)) == flat(events)


def test_merged_chunks_stay_below_their_limit() -> None:
    merged = merge([Output(bytes(10_000))] * 20)
    assert all(isinstance(event, Output) and len(event.data) <= MERGE_LIMIT for event in merged)
    assert len(merged) == 4


async def test_resizes_in_a_row_become_the_last_one() -> None:
    end = client()
    for columns in range(1000):
        end.terminal_size_changed(columns, 24, 0, 0)
    end.data_received(b"x", None)
    end.terminal_size_changed(5, 5, 0, 0)
    assert await end.receive() == [Resized(999, 24), Input(b"x"), Resized(5, 5)]


async def test_what_is_put_back_comes_first_and_in_its_order() -> None:
    end = client()
    end.data_received(b"later", None)
    end.unreceive([Input(b"a"), Resized(1, 1)])
    assert await end.receive() == [Input(b"a"), Resized(1, 1), Input(b"later")]


async def test_client_has_said_all_only_once_all_of_it_was_received() -> None:
    end = client()
    end.data_received(b"last", None)
    end.eof_received()
    assert not end.has_said_all
    assert await end.receive() == [Input(b"last"), InputEnded()]
    assert end.has_said_all


async def test_exit_of_a_target_comes_after_all_it_wrote() -> None:
    end = TargetEnd()
    end.exit_status_received(3)
    end.data_received(b"late", None)
    end.connection_lost(None)
    assert await end.receive() == [Output(b"late"), Exited(3)]
    assert await end.receive() == []


async def test_receiver_that_waits_is_woken_when_the_end_is_gone() -> None:
    end = client()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(end.receive())
        await asyncio.sleep(0)
        end.connection_lost(None)
    assert waiting.result() == []


async def test_what_was_typed_for_somebody_who_is_gone_is_forgotten_and_nothing_else() -> None:
    end = client()
    end.data_received(b"\r\r", None)
    end.terminal_size_changed(5, 5, 0, 0)
    end.eof_received()
    end.forget_typed()
    assert await end.receive() == [Resized(5, 5), InputEnded()]


async def test_peer_that_is_gone_takes_what_is_delivered() -> None:
    """The connection of a channel is gone before the channel's end hears of it."""
    end, channel = client(), object.__new__(_ServerChannel)
    channel._conn = None
    end.channel = channel
    async with asyncio.timeout(5):
        await end.deliver([OutputEnded()])
