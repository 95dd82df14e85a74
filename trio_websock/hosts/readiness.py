"""Which sockets have something to read: one epoll for all the sockets of a Trio run.

In: file descriptors. Out: a :class:`Watch` for each, on which one task waits. Knows nothing of what is read.

Trio arms its epoll anew for every wait and wakes a task for every socket. Here a socket is registered once, for as
long as it lives, and whoever waits leaves a function behind that is called in its place: while that says "go on", the
task sleeps. A peer that sends a small message is served in this way, without a turn of the scheduler for its reader.

1. Registration is edge-triggered: the kernel tells of bytes once, when they come. ``is_ready`` remembers that until a
   read has found the socket empty. A read that did not fill its buffer has found that, too (epoll(7)), unless the end
   of the stream came with the bytes: that makes no second edge, and is known by ``has_ended``.
2. A socket that is closed leaves the epoll before, or a copy of its descriptor in a forked process would keep it there.
   An event that was on its way does no harm to the next socket with that number: who is woken in vain finds nothing and
   waits again.
3. Where there is no epoll every wait is Trio's own, and the function is called by the task that waits.
4. Where several sockets have been served, others will have been heard from meanwhile. They are looked for at once, as
   the scheduler's turn costs as much as a message; but only while the turn before is short, as all other tasks wait.
5. Another task, one that waits for nothing but what comes out of this socket, may attend to it in person, through Trio:
   it calls the function itself and goes on at once, where the registry's task would have had to wake it. That pays
   where there is one socket; for many, one task that looks at all of them does.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable
from time import perf_counter
from typing import TypeAlias, final

import trio

__all__ = ["Step", "Watch", "watch_socket"]

Step: TypeAlias = Callable[[], bool]
"""What to do when there is something to read; whether to go on waiting. It may run in any task."""

MAX_EVENTS = 256  # sockets served before others are looked for
MAX_TURN = 0.001  # seconds after which none are, before the scheduler has had a turn


class Watch:
    """What is known about one socket, on which one task at a time may wait. This one works everywhere.

    Args:
        fd: of the socket.
    """

    __slots__ = ("_fd", "has_ended", "is_ready")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        #: Whether a read may find something without waiting, as far as is known.
        self.is_ready: bool = True
        #: Whether the peer is known to send nothing more: a short read does not mean that the socket is empty.
        self.has_ended: bool = False

    async def wait(self, step: Step | None = None) -> None:
        """Wait for something to read and call ``step``, again and again until it says ``False``.

        Raises:
            trio.ClosedResourceError: closed, meanwhile or before.

        Checkpoint: always. Cancelled: nothing is lost.
        """
        await self._wait_readable()
        while step is not None and step():
            await self._wait_readable()
        self.is_ready = True

    async def _wait_readable(self) -> None:
        if self._fd < 0:
            raise trio.ClosedResourceError("closed already")
        await trio.lowlevel.wait_readable(self._fd)

    @property
    def can_attend(self) -> bool:
        """Whether :meth:`attend` is possible now, and pays."""
        return False

    async def attend(self) -> None:
        """Wait for something to read in place of the one who waits here, and call his function once. In another task.

        Returns as well when :meth:`dismiss` is called or the watch is closed. What the function raises is for the one
        who waits.

        Checkpoint: always. Cancelled: nothing is lost.
        """
        raise NotImplementedError("only a watch that can_attend")

    def dismiss(self) -> None:
        """Have :meth:`attend` return now, if somebody attends."""

    def close(self) -> None:
        """Wake whoever waits; call it right before the socket is closed."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            trio.lowlevel.notify_closing(fd)


def watch_socket(fd: int) -> Watch:
    """The best watch that this platform has; only in a Trio run."""
    if sys.platform != "linux":
        return Watch(fd)
    try:
        registry = _registry.get()
    except LookupError:
        registry = Registry()
        _registry.set(registry)
        trio.lowlevel.spawn_system_task(registry.run)
    return EpollWatch(fd, registry)


if sys.platform == "linux":
    _READABLE = select.EPOLLIN
    _EDGES = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET

    @final
    class EpollWatch(Watch):
        """A socket that the registry knows of from the first wait on.

        Args:
            fd: of the socket.
            registry: of this Trio run.
        """

        __slots__ = ("_fault", "_is_attended", "_is_registered", "_registry", "_step", "_task")

        def __init__(self, fd: int, registry: Registry) -> None:
            super().__init__(fd)
            self._registry = registry
            self._fault: BaseException | None = None
            self._is_attended = False
            self._is_registered = False
            self._step: Step | None = None
            self._task: trio.lowlevel.Task | None = None

        async def wait(self, step: Step | None = None) -> None:
            if self._task is not None:
                raise trio.BusyResourceError("another task is already waiting for this socket")
            if not self._is_registered:
                self._register()
            self._step = step
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._forget)
            if self._fault is not None:
                fault, self._fault = self._fault, None
                raise fault

        def _register(self) -> None:
            if self._fd < 0:
                raise trio.ClosedResourceError("closed already")
            self._registry.add(self._fd, self)
            self._is_registered = True

        def notice(self, flags: int) -> None:
            """Something has come, or has ended. Raises nothing."""
            if flags != _READABLE:
                self.has_ended = True
            elif self._step is not None:
                try:
                    if self._step():
                        return
                except BaseException as exc:
                    self._fault = exc
            self.is_ready = True
            self._wake()

        @property
        def can_attend(self) -> bool:
            return self._step is not None and self._registry.population == 1

        async def attend(self) -> None:
            self._registry.listen(self._fd, 0)
            self._is_attended = True
            try:
                await self._wait_readable()
            except trio.ClosedResourceError:  # dismissed, or closed
                return
            else:
                self._is_attended = False
                self.notice(select.EPOLLIN)
            finally:
                self._is_attended = False
                if self._is_registered:
                    # Whatever has come and was not read makes an edge now, and so does the end of the stream.
                    self._registry.listen(self._fd, _EDGES)

        def dismiss(self) -> None:
            if self._is_attended:
                trio.lowlevel.notify_closing(self._fd)

        def close(self) -> None:
            self.dismiss()
            if self._is_registered:
                self._registry.remove(self._fd, self)
                self._is_registered = False
            self._fd = -1
            self._fault = trio.ClosedResourceError("closed by another task")
            self._wake()

        def _wake(self) -> None:
            task, self._task, self._step = self._task, None, None
            if task is not None:
                trio.lowlevel.reschedule(task)

        def _forget(self, _: object) -> trio.lowlevel.Abort:
            self._task = self._step = None
            return trio.lowlevel.Abort.SUCCEEDED

    @final
    class Registry:
        """The epoll of a Trio run, and the task that looks at it."""

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self._watches: dict[int, EpollWatch] = {}

        async def run(self) -> None:
            """Tell every watch what has happened to its socket, until the Trio run is over."""
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled:
                self._epoll.close()
                raise
            number = self._epoll.fileno()
            try:
                while True:
                    await trio.lowlevel.wait_readable(number)
                    end = perf_counter() + MAX_TURN
                    while self._tell() > 1 and perf_counter() < end:
                        pass
            except trio.Cancelled:
                # By the end of the run, or by a cancel scope that a step has opened and left open in this task, which
                # may not end all other connections. A task that begins anew finds out.
                trio.lowlevel.spawn_system_task(self.run)

        def _tell(self) -> int:
            """Tell every watch what has happened by now; how much that was."""
            events = self._epoll.poll(0, MAX_EVENTS)
            watches = self._watches
            for fd, flags in events:
                watch = watches.get(fd)
                if watch is not None:
                    watch.notice(flags)
            return len(events)

        def add(self, fd: int, watch: EpollWatch) -> None:
            """Tell ``watch`` of ``fd`` from now on. Raises ``OSError`` where the kernel has no room for one more."""
            self._epoll.register(fd, _EDGES)
            self._watches[fd] = watch

        @property
        def population(self) -> int:
            """The sockets that are known."""
            return len(self._watches)

        def listen(self, fd: int, events: int) -> None:
            """Tell of these events of a descriptor from now on; of none: somebody else looks at it."""
            self._epoll.modify(fd, events)

        def remove(self, fd: int, watch: EpollWatch) -> None:
            """Forget a descriptor that is about to be closed."""
            if self._watches.get(fd) is watch:
                del self._watches[fd]
                try:
                    self._epoll.unregister(fd)
                except (OSError, ValueError):  # closed behind our back, or the Trio run is over
                    pass

    _registry: trio.lowlevel.RunVar[Registry] = trio.lowlevel.RunVar("trio_websock.hosts.readiness")
