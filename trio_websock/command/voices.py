"""Who is told of what happens: a program that reads JSON, a script that reads lines, somebody at a terminal.

In: events. Out: lines, on the standard output or beside it. What a script does not wait for goes to standard error.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Protocol, final

from .events import Closed, Event, Failed, Noted, Ponged, Received, json_line
from .rendering import message_line, printable, remark, terminal_lines

__all__ = ["JsonVoice", "PlainVoice", "Sink", "TerminalVoice", "Voice", "complain"]


class Sink(Protocol):
    """Where lines go."""

    def put_nowait(self, text: str) -> None:
        """Take a line."""

    async def wait_room(self) -> None:
        """Wait until there is room for more."""


class Voice(Protocol):
    """Tells of events."""

    def tell(self, event: Event) -> None:
        """Tell of an event; never waits."""

    async def wait_room(self) -> None:
        """Wait until there is room for more."""


def complain(text: str) -> None:
    """Say on standard error what is wrong, if that is open: nothing depends on somebody reading it."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"trio_websock: {printable(text)}", file=sys.stderr, flush=True)


@final
class JsonVoice:
    """Every event of the connection as a line of JSON."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def tell(self, event: Event) -> None:
        """See the class; failures are told to people, too."""
        if line := json_line(event):
            self._sink.put_nowait(line)
        if isinstance(event, Failed | Noted):
            complain(remark(event))

    async def wait_room(self) -> None:
        """Wait until there is room for more."""
        await self._sink.wait_room()


@final
class PlainVoice:
    """Messages as lines; the rest only if it is wanted, or if it went wrong.

    Args:
        sink: takes the messages.
        is_verbose: whether the rest is wanted.
        is_terminal: whether the messages may be made harmless, because nobody will parse them.
    """

    def __init__(self, sink: Sink, is_verbose: bool, is_terminal: bool) -> None:
        self._sink = sink
        self._is_verbose = is_verbose
        self._is_terminal = is_terminal

    def tell(self, event: Event) -> None:
        """See the class."""
        if isinstance(event, Received):
            line = message_line(event.message)
            self._sink.put_nowait(printable(line) if self._is_terminal else line)
        elif _is_wrong(event) or (self._is_verbose and not _is_routine(event)):
            complain(remark(event))

    async def wait_room(self) -> None:
        """Wait until there is room for more."""
        await self._sink.wait_room()


def _is_routine(event: Event) -> bool:
    return isinstance(event, Ponged) and event.is_keepalive


def _is_wrong(event: Event) -> bool:
    return isinstance(event, Failed | Noted) or (isinstance(event, Closed) and not event.ending.is_clean)


@final
class TerminalVoice:
    """Everything but keepalive, for somebody who looks."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def tell(self, event: Event) -> None:
        """See the class; that there is no connection is an error of the command."""
        if isinstance(event, Failed):
            complain(remark(event))
        elif not _is_routine(event):
            self._sink.put_nowait(terminal_lines(event))

    async def wait_room(self) -> None:
        """Wait until there is room for more."""
        await self._sink.wait_room()
