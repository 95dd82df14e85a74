"""Where messages come from: words, and lines of a file descriptor."""

from __future__ import annotations

import os

import pytest
import trio

from trio_websock import Binary
from trio_websock.command.lines import GivenMessages, InputLines, order_for_bytes, order_for_text, order_for_typed
from trio_websock.command.orders import Refuse, Send, SendPing


async def orders_of(source):
    """Everything a source orders."""
    orders = []

    async def perform(order):
        orders.append(order)

    await source.run(perform)
    return orders


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\nb", [b"a", b"b"]),
        (b"\n\n", [b"", b""]),
        (b"a\r\n", [b"a\r"]),
        (b"x" * 200_000 + b"\ny", [b"x" * 200_000, b"y"]),
    ],
)
async def test_each_line_is_an_order(tmp_path, data, lines):
    (tmp_path / "input").write_bytes(data)
    with open(tmp_path / "input", "rb") as file:
        assert await orders_of(InputLines(file.fileno(), lambda line: line)) == lines


async def test_a_line_is_an_order_before_the_input_ends(nursery):
    reader, writer = os.pipe()
    send, receive = trio.open_memory_channel(10)
    nursery.start_soon(InputLines(reader, order_for_text).run, send.send)
    os.write(writer, b"half")
    os.write(writer, b" a line\nrest")
    assert await receive.receive() == Send("half a line")
    os.close(writer)
    assert await receive.receive() == Send("rest")
    os.close(reader)


async def test_an_input_that_is_closed_from_the_start_has_no_lines():
    assert await orders_of(InputLines(-1, order_for_text)) == []


async def test_an_input_that_does_not_block_is_waited_for(nursery):
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    send, receive = trio.open_memory_channel(10)
    nursery.start_soon(InputLines(reader, order_for_text).run, send.send)
    await trio.testing.wait_all_tasks_blocked()
    os.write(writer, b"late\n")
    assert await receive.receive() == Send("late")
    os.close(writer)


async def test_a_read_in_progress_holds_nobody():
    reader, writer = os.pipe()
    with trio.CancelScope() as scope:
        scope.cancel()
        await orders_of(InputLines(reader, order_for_text))
    assert scope.cancelled_caught
    os.close(writer)


async def test_words_are_sent_in_their_order():
    assert await orders_of(GivenMessages(["a", "b"], is_binary=False)) == [Send("a"), Send("b")]


async def test_words_may_be_bytes():
    word = os.fsdecode(b"\xff")
    assert await orders_of(GivenMessages([word], is_binary=True)) == [Send(Binary(b"\xff"))]


def test_a_line_that_is_not_utf_8_is_refused_as_text():
    assert isinstance(order_for_text(b"\xff"), Refuse)


def test_a_line_may_be_any_bytes():
    assert order_for_bytes(b"\xff") == Send(Binary(b"\xff"))


def test_a_typed_line_may_be_an_order():
    assert order_for_typed(b"/ping x") == SendPing(b"x")
