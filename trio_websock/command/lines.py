"""Where messages come from when nobody edits lines: the command line, or the standard input.

In: words, or bytes of a file descriptor that may be a pipe, a file or a terminal. Out: one order for each line.
"""

from __future__ import annotations

import os
import select
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias, final

import trio

from ..messages import Binary
from .orders import Order, Refuse, Send, order_for

__all__ = ["GivenMessages", "InputLines", "Perform", "Source", "order_for_bytes", "order_for_text", "order_for_typed"]

READ_SIZE = 64 * 1024  # bytes

Perform: TypeAlias = Callable[[Order], Awaitable[None]]
"""Carries an order out."""


class Source(Protocol):
    """Where orders come from."""

    async def run(self, perform: Perform) -> None:
        """Have every order carried out, one after the other, until there are no more."""


@final
class GivenMessages:
    """The words of ``-m``.

    Args:
        messages: in their order.
        is_binary: whether they are sent as binary messages.
    """

    def __init__(self, messages: list[str], is_binary: bool) -> None:
        self._messages = messages
        self._is_binary = is_binary

    async def run(self, perform: Perform) -> None:
        """Send them."""
        for message in self._messages:
            await perform(Send(Binary(os.fsencode(message)) if self._is_binary else message))


def order_for_text(line: bytes) -> Order:
    """Send a line as text."""
    try:
        return Send(line.decode())
    except UnicodeDecodeError:
        return Refuse("a line of the input is not UTF-8; --binary sends it as it is")


def order_for_bytes(line: bytes) -> Order:
    """Send a line as binary."""
    return Send(Binary(line))


def order_for_typed(line: bytes) -> Order:
    """What somebody typed."""
    return order_for(line.decode("utf-8", "replace"))


@final
class InputLines:
    """The lines of a file descriptor.

    Args:
        fd: read in a thread, as a file can be read in no other way, and left to that thread if we end first.
        order_of: what to do about a line.
    """

    def __init__(self, fd: int, order_of: Callable[[bytes], Order]) -> None:
        self._fd = fd
        self._order_of = order_of

    async def run(self, perform: Perform) -> None:
        """Read to the end; a last line needs no newline."""
        begun: list[bytes] = []
        while data := await trio.to_thread.run_sync(_read, self._fd, abandon_on_cancel=True):
            first, *others = data.split(b"\n")
            begun.append(first)
            for line in others:
                await perform(self._order_of(b"".join(begun)))
                begun = [line]
        if any(begun):
            await perform(self._order_of(b"".join(begun)))


def _read(fd: int) -> bytes:
    while True:
        try:
            return os.read(fd, READ_SIZE)
        except BlockingIOError:  # somebody else who has it open has made it so
            select.select([fd], [], [])
        except OSError:  # closed from the start, or a terminal that has gone
            return b""
