"""The line that is being typed, at the bottom of a terminal; what happens meanwhile is shown above it.

In: keys, and lines to show. Out: one order for each line typed. The only room that knows prompt_toolkit, which runs on
an event loop of its own in a thread.

1. One prompt is open from the beginning to the end; what is typed leaves it at Enter, and the prompt stays. So there is
   no moment between two prompts in which a line to be shown could be lost.
2. Lines are shown by the editor's thread alone, while it has taken the prompt away.
3. The thread is always waited for: it has to give the terminal back as it was.
"""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import final

import trio
from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer

from .lines import Perform
from .orders import order_for
from .rendering import printable

__all__ = ["LineEditor"]

MAX_UNSHOWN_LEN = 1000  # lines


@final
class LineEditor:
    """See the module. A ``Source`` of orders and a ``Sink`` for lines."""

    def __init__(self) -> None:
        self._session: PromptSession[str] = PromptSession("> ", erase_when_done=True)
        self._session.default_buffer.accept_handler = self._accept
        self._typed, self._lines = trio.open_memory_channel[str](math.inf)
        self._token: trio.lowlevel.TrioToken | None = None
        self._unshown: deque[str] = deque()
        self._shown = trio.lowlevel.ParkingLot()
        self._is_showing = False  # somebody is about to show what is unshown: once is enough
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_over = False
        self._lock = threading.Lock()  # of the two above

    # For the tasks.

    async def run(self, perform: Perform) -> None:
        """Have every typed line carried out, until Ctrl-D or Ctrl-C.

        Checkpoint: always. Cancelled: the terminal is given back first.
        """
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._edit)
            nursery.start_soon(self._leave_when_cancelled)
            async for line in self._lines:
                await perform(order_for(line))
            nursery.cancel_scope.cancel()

    async def _edit(self) -> None:
        await trio.to_thread.run_sync(self._run_prompt)
        self._typed.close()
        self._show()

    async def _leave_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with self._lock:
                self._is_over = True
                self._call(self._leave)

    def put_nowait(self, text: str) -> None:
        """Show a line."""
        self._unshown.append(text)
        with self._lock:
            if self._loop is None:
                self._show()
            elif not self._is_showing:
                self._is_showing = True
                self._call(self._show_above)

    async def wait_room(self) -> None:
        """Wait until what is unshown is shown, if that is much: a server may be quicker than a terminal."""
        while len(self._unshown) > MAX_UNSHOWN_LEN:
            await self._shown.park()

    def _call(self, function: Callable[[], object]) -> None:
        """Have the editor's thread call a function, if it is still there."""
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            pass  # the loop has just been closed; what is unshown is shown after that

    # In the editor's thread.

    def _run_prompt(self) -> None:
        try:
            self._session.prompt(pre_run=self._begin)
        except (EOFError, KeyboardInterrupt):
            pass
        finally:
            with self._lock:
                self._loop = None

    def _begin(self) -> None:
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._leave if self._is_over else self._show_above)

    def _accept(self, buffer: Buffer) -> bool:
        """Take what was typed out of the line; whether it stays in it."""
        self._unshown.append(printable(f"> {buffer.text}"))
        if not self._is_showing:
            self._is_showing = True
            self._show_above()
        assert self._token is not None
        self._token.run_sync_soon(self._typed.send_nowait, buffer.text)
        return False

    def _leave(self) -> None:
        if not self._session.app.is_done:
            self._session.app.exit(exception=EOFError())

    def _show_above(self) -> None:
        # Not by run_in_terminal, which has the terminal echo keys meanwhile, and then they are seen twice.
        app = self._session.app
        if app.is_running:
            app.renderer.erase()
        self._show()
        app.invalidate()

    def _show(self) -> None:
        self._is_showing = False
        while self._unshown:
            sys.stdout.write(f"{self._unshown.popleft()}\n")
        sys.stdout.flush()
        if self._token is not None:
            self._token.run_sync_soon(self._shown.unpark_all, idempotent=True)
