"""What typed lines mean."""

from __future__ import annotations

import pytest

from trio_websock import Binary
from trio_websock.command.orders import HELP, Close, Note, Send, SendPing, order_for

ORDERS = {
    "hello": Send("hello"),
    "": Send(""),
    " /ping": Send(" /ping"),
    "//ping": Send("/ping"),
    "/ping": SendPing(b""),
    "/ping ä b": SendPing("ä b".encode()),
    "/binary 00 ff0A": Send(Binary(b"\x00\xff\n")),
    "/binary": Send(Binary(b"")),
    "/close": Close(1000),
    "/close 4000": Close(4000),
    "/close 4000 two words": Close(4000, "two words"),
    "/help": Note(HELP),
}


@pytest.mark.parametrize(("line", "order"), ORDERS.items(), ids=ORDERS.keys())
def test_a_line_is_an_order(line, order):
    assert order_for(line) == order


@pytest.mark.parametrize("line", ["/", "/nonsense", "/binary 0", "/binary xy", "/close soon"])
def test_what_is_not_understood_is_told_and_not_sent(line):
    assert isinstance(order_for(line), Note)


def test_the_help_names_every_order():
    assert [word for word in ("/ping", "/binary", "/close", "/help", "//") if word not in HELP] == []
