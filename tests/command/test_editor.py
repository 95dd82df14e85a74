"""The line editor on keys from a pipe: what is typed is carried out, what happens is shown, and it ends when told.

How that looks on a terminal is told in e2e/test_terminal.py.
"""

from __future__ import annotations

import asyncio

import pytest
import trio
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from trio_websock.command.editor import LineEditor
from trio_websock.command.orders import Send, SendPing


@pytest.fixture
def keys():
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        yield keys


async def orders_of(editor):
    orders = []

    async def perform(order):
        orders.append(order)

    await editor.run(perform)
    return orders


@pytest.mark.parametrize("end", ["\x04", "\x03", "half a line\x03"], ids=["Ctrl-D", "Ctrl-C", "Ctrl-C in a line"])
async def test_each_line_is_an_order_until_a_key_ends_it(keys, end):
    keys.send_text(f"hello\r/ping x\r{end}")
    assert await orders_of(LineEditor()) == [Send("hello"), SendPing(b"x")]


async def test_a_line_can_be_edited(keys):
    keys.send_text("twx\x7fo\x01be\r\x04")  # backspace; to the beginning
    assert await orders_of(LineEditor()) == [Send("betwo")]


async def test_what_is_typed_and_what_happens_is_shown(keys, capsys):
    editor = LineEditor()

    async def perform(order):
        editor.put_nowait("< answer")
        keys.send_text("\x04")

    editor.put_nowait("* connected")
    keys.send_text("hi\r")
    await editor.run(perform)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "* connected"
    assert shown[-1] == "< answer"
    assert shown[1] == "> hi"


async def test_after_the_end_lines_are_shown_all_the_same(keys, capsys):
    editor = LineEditor()
    keys.send_text("\x04")
    await orders_of(editor)
    editor.put_nowait("* closed")
    assert capsys.readouterr().out == "* closed\n"


async def test_a_line_that_comes_just_when_the_editor_has_ended_is_kept(keys, capsys):
    editor = LineEditor()
    keys.send_text("\x04")
    await orders_of(editor)
    editor._loop = asyncio.new_event_loop()
    editor._loop.close()
    editor.put_nowait("late")
    editor._show()
    assert capsys.readouterr().out == "late\n"


async def test_it_ends_when_it_is_cancelled(keys):
    editor = LineEditor()
    with trio.CancelScope() as scope:

        async def perform(order):
            scope.cancel()

        keys.send_text("hello\r")
        await editor.run(perform)
    assert scope.cancelled_caught


async def test_it_ends_even_if_it_is_cancelled_before_it_began(keys):
    with trio.CancelScope() as scope:
        scope.cancel()
        await orders_of(LineEditor())
    assert scope.cancelled_caught


async def test_it_makes_nobody_wait_for_a_few_lines(keys):
    await LineEditor().wait_room()


async def test_more_lines_than_can_be_shown_are_waited_for(keys, capsys, nursery):
    editor = LineEditor()
    nursery.start_soon(orders_of, editor)
    for number in range(5_000):
        editor.put_nowait(str(number))
        await editor.wait_room()
        await trio.lowlevel.cancel_shielded_checkpoint()
        assert len(editor._unshown) <= 1001
    nursery.cancel_scope.cancel()
    keys.send_text("\x04")
