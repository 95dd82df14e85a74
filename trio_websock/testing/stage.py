"""What a check of a host is written with: the host, a peer, and a place where handlers note what they see.

In: a :class:`Host` and one :class:`Check`. Out: nothing, or an exception that says which claim does not hold. Knows
hosts only by the protocol below, and our library only by its public face.
"""

from __future__ import annotations

import enum
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, TypeVar, final

import trio
import trio.testing

from trio_websock import Error, Handler, Ok, Request, Upgrade, upgrade

from .scripted_peer import ScriptedPeer, close

__all__ = ["Capability", "Check", "Checks", "Host", "HostedServer", "Stage", "Witness"]

REAL_LIMIT = 20.0  # seconds; only a check that hangs ever gets there
VIRTUAL_LIMIT = 1e8  # seconds; longer than anything a check waits for on purpose
QUIET_GRACE = 20  # paced seconds a server gets to end after a check

CheckFunction = Callable[..., Awaitable[None]]
Checked = TypeVar("Checked", bound=CheckFunction)
Cause = TypeVar("Cause")


class Capability(enum.Enum):
    """What a host must be able to do for a check to say anything about it."""

    FRAMING = "reads and writes frames itself, by our rulings"
    PIPELINING = "keeps what is sent right behind the opening handshake"
    COMPRESSION = "negotiates permessage-deflate by our settings"
    OFFERS = "chooses among what a client offers of permessage-deflate"
    HTTP = "answers HTTP itself, by our rulings"
    ADMISSION = "bounds how many clients it serves at once"
    SHUTDOWN = "can be shut down gracefully, by our rulings"
    DRAINING = "drains when it is cancelled, stops listening, and may announce a restart: a server"
    CONTROL = "shows pings and pongs to handle_control"
    CLOSING = "conducts the closing handshake itself, by our rulings"
    READ_AHEAD = "reads while a callback runs"
    EAGER_OUTPUT = "hands output to the socket without waiting for a task's turn"
    RESET = "shows a reset as one, in both directions"
    HALF_CLOSE = "lets a peer end its side of the stream and read on"
    VIRTUAL_TIME = "runs without sockets, in virtual time"


NOTHING: Mapping[str, Capability] = MappingProxyType({})


class HostedServer(Protocol):
    """A running server of some host."""

    @property
    def authority(self) -> str:
        """What a peer sends as ``Host``."""

    @property
    def finished(self) -> trio.Event:
        """Set when nothing of the server runs any more."""

    async def connect(self) -> trio.abc.Stream:
        """Open a connection; ``OSError`` where nobody listens."""

    async def shutdown(self, *, restart: bool = False, grace: float | None = None) -> None:
        """Shut down gracefully; returns when all is drained. Needs ``Capability.SHUTDOWN``."""

    def cancel(self) -> None:
        """Cancel the task that runs the server."""


class Host(Protocol):
    """A server that hosts handlers, as the checks see it."""

    @property
    def name(self) -> str:
        """For reports."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can be asked."""

    @property
    def pace(self) -> float:
        """Real seconds for one second in the script of a check; 1.0 in virtual time."""

    def make_clock(self) -> trio.abc.Clock | None:
        """The clock to run a check with; ``None`` for the real one."""

    def open_server(self, app: object, **options: Any) -> AbstractAsyncContextManager[HostedServer]:
        """Serve a handler or an application function with the keywords of ``serve``, until the end of the block."""


@dataclass(frozen=True, slots=True)
class Check:
    """One claim of the rulings.

    Args:
        group: the ruling's chapter.
        name: the claim.
        needs: without these a host cannot be asked.
        run: asks; raises if the claim does not hold.
    """

    group: str
    name: str
    needs: frozenset[Capability]
    run: Callable[[Stage], Awaitable[None]]

    def __str__(self) -> str:
        return f"{self.group}: {self.name}"


@final
class Checks:
    """The checks of one group, in order.

    Args:
        group: the ruling's chapter.
        needs: what every check of the group needs.
    """

    def __init__(self, group: str, *needs: Capability) -> None:
        self.group = group
        self._needs = needs
        self._checks: list[Check] = []

    def __iter__(self) -> Iterator[Check]:
        return iter(self._checks)

    def add(self, *needs: Capability) -> Callable[[Checked], Checked]:
        """Add the function below as a check, named after it."""

        def add_check(run: Checked) -> Checked:
            self._append(_claim(run), needs, run)
            return run

        return add_check

    def add_each(
        self, cases: Mapping[str, tuple[Any, ...]], *needs: Capability, also: Mapping[str, Capability] = NOTHING
    ) -> Callable[[Checked], Checked]:
        """Add the function below as a check for each case: with its arguments, named after both.

        Args:
            cases: arguments by name.
            needs: of every case.
            also: what single cases need beside that.
        """

        def add_checks(run: Checked) -> Checked:
            for case, arguments in cases.items():
                needed = (*needs, also[case]) if case in also else needs
                self._append(f"{_claim(run)} [{case}]", needed, run, *arguments)
            return run

        return add_checks

    def _append(self, name: str, needs: tuple[Capability, ...], run: CheckFunction, *arguments: Any) -> None:
        needed = frozenset(self._needs + needs)
        self._checks.append(Check(self.group, name, needed, lambda stage: run(stage, *arguments)))


def _claim(run: CheckFunction) -> str:
    return str(getattr(run, "__name__", run)).replace("_", " ").strip()


class Witness(Handler[Any, Any]):
    """A handler that takes everything in silence and notes how it ended; checks change what they ask about.

    The first state is 0.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def init(self, args: Any) -> Any:
        return Ok(0)

    def handle_in(self, message: str | bytes, state: Any) -> Any:
        return Ok(state)

    def terminate(self, reason: Any, state: Any) -> Any:
        self.stage.note(reason)


class _LogKeeper(logging.Handler):
    """Keeps every record, whatever its level, for the time of a ``with`` block."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @contextmanager
    def attached(self, logger: logging.Logger) -> Iterator[None]:
        level = logger.level
        logger.addHandler(self)
        logger.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            logger.setLevel(level)
            logger.removeHandler(self)


@final
class Stage:
    """Where one check plays.

    Args:
        host: under check.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        #: For the check to open, and open at its end; what waits for it is up to its handler.
        self.gate: trio.Event = trio.Event()
        self._log = _LogKeeper()
        self._note, self._noted = trio.open_memory_channel[Any](math.inf)

    def seconds(self, seconds: float) -> float:
        """Seconds of a script in this host's pace."""
        return seconds * self.host.pace

    def note(self, item: object) -> None:
        """Keep what a handler saw, for :meth:`expect_notes`."""
        self._note.send_nowait(item)

    async def next_note(self) -> Any:
        """Wait for what was noted next."""
        return await self._noted.receive()

    async def expect_notes(self, *items: object) -> None:
        """Insist that ``items`` are what is noted next, in this order."""
        for item in items:
            noted = await self.next_note()
            if noted != item:
                raise AssertionError(f"expected {item!r}: noted {noted!r}")

    async def expect_error(self, kind: type[Cause]) -> Cause:
        """Insist that ``terminate`` noted an ``Error`` with a cause of ``kind`` next; returns the cause."""
        noted = await self.next_note()
        if not isinstance(noted, Error) or not isinstance(noted.cause, kind):
            raise AssertionError(f"expected an Error with {kind.__name__}: noted {noted!r}")
        return noted.cause

    def expect_no_note(self) -> None:
        """Insist that nothing is noted that has not been asked for."""
        try:
            raise AssertionError(f"expected nothing: noted {self._noted.receive_nowait()!r}")
        except trio.WouldBlock:
            pass

    def logged(self, level: int) -> list[logging.LogRecord]:
        """What has been logged at ``level`` or above."""
        return [record for record in self._log.records if record.levelno >= level]

    @asynccontextmanager
    async def serve(self, app: object, **options: Any) -> AsyncIterator[HostedServer]:
        """Have the host serve a handler or an application function."""
        options.setdefault("grace", self.seconds(QUIET_GRACE))
        async with self.host.open_server(app, **options) as server:
            try:
                yield server
            finally:
                self.gate.set()  # a handler that waits for it in a shield would hold the server for ever

    async def connect(self, server: HostedServer) -> ScriptedPeer:
        """A peer that is connected and has not said anything yet."""
        return ScriptedPeer(await server.connect(), server.authority)

    @asynccontextmanager
    async def open(
        self, witness: Callable[[Stage], object], *extra: str, **options: Any
    ) -> AsyncIterator[ScriptedPeer]:
        """A peer behind its handshake with a server that gives each connection a ``witness`` of its own.

        Args:
            witness: mostly a subclass of :class:`Witness`.
            extra: further header lines of the handshake.
            options: keywords of ``serve``.
        """

        def application(request: Request) -> Upgrade:
            return upgrade(witness(self), request)

        async with self.serve(application, **options) as server, await self.connect(server) as peer:
            await peer.open(*extra)
            yield peer

    async def expect_close(self, peer: ScriptedPeer, frame: bytes, reason: object) -> None:
        """Insist that the server closes with ``frame``, ends the stream when answered, and noted ``reason``."""
        await peer.expect(frame)
        await peer.send(close(1000))
        await peer.expect_end()
        await self.expect_notes(reason)

    async def expect_failure(self, peer: ScriptedPeer, frame: bytes, kind: type[Cause]) -> Cause:
        """Insist that the server closes with ``frame``, ends the stream, and noted an ``Error`` with ``kind``."""
        await peer.expect(frame)
        await peer.send(close(1000))
        await peer.expect_end()
        return await self.expect_error(kind)

    async def play(self, check: Check) -> None:
        """Run ``check``; raises what it raises."""
        limit = VIRTUAL_LIMIT if Capability.VIRTUAL_TIME in self.host.capabilities else REAL_LIMIT
        with self._log.attached(logging.getLogger()), trio.fail_after(limit):
            await check.run(self)
