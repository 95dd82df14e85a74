"""The laws of a connection, asked of a world in which a script has been played.

What must hold at a moment of the script the world has asked itself; here is what must hold of the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_websock.behaviour.reasons import Error, Normal, Remote, Shutdown, Timeout
from trio_websock.errors import RemoteError, TransportError

from .memory_wire import split

if TYPE_CHECKING:
    from .connection import World

__all__ = ["check_laws"]


def check_laws(world: World) -> None:
    """Ask for all of them."""
    assert world.violations == []
    check_order(world)
    check_end(world)
    check_wire(world)


def check_order(world: World) -> None:
    """What arrived was handled in order of arrival, from the first on, and nothing was lost in between."""
    arrivals = [item for name, item in world.calls if name == "arrival"]
    infos = [item for name, item in world.calls if name == "info"]
    assert arrivals == [message for message, _ in world.sent[: len(arrivals)]]
    assert [*infos, *world.connection.unhandled] == [number for number, _ in world.posted]
    if world.is_roomy:  # else the reader or the mailbox may have had to wait
        epochs = {("arrival", at): epoch for at, (_, epoch) in enumerate(world.sent)}
        epochs |= {("info", at): epoch for at, (_, epoch) in enumerate(world.posted)}
        counts = {"arrival": 0, "info": 0}
        handled = []
        for name, _ in world.calls[1:]:
            handled.append(epochs[name, counts[name]])
            counts[name] += 1
        assert handled == sorted(handled)


def check_end(world: World) -> None:
    """``terminate`` ran once if ``init`` succeeded, and was told what the connection says of itself."""
    assert world.scope.cancelled_caught or not world.must_pass_on, "the cancellation was swallowed"
    assert world.reason == (None if world.scope.cancelled_caught else world.connection.reason)
    assert len(world.farewells) == (world.state is not None)
    for reason, _, taken in world.farewells:
        assert world.connection.reason == reason
        assert taken == world.wire.taken, "something was sent behind terminate"
    assert world.wire.is_closed


def check_wire(world: World) -> None:
    """Whole frames of what callbacks returned, in order; the close frame last, and only one."""
    frames, rest = split(world.wire.taken)
    is_dead = world.wire.is_aborted or world.wire.is_reset
    assert not rest or is_dead, "half a frame"
    assert all(first in (0x81, 0x82, 0x88, 0x89, 0x8A) for first, _ in frames)
    assert 0x88 not in [first for first, _ in frames[:-1]], "a frame behind the close"
    taken = world.pushes_taken()
    assert taken == world.pushed[: len(taken)]
    assert is_dead or len(taken) == len(world.pushed)
    assert is_subsequence(world.pongs_taken(), world.pings_sent())
    close = expected_close(world)
    if frames and frames[-1][0] == 0x88:
        assert frames[-1][1] == close
    else:
        assert is_dead or close is None


def is_subsequence(part: list[bytes], whole: list[bytes]) -> bool:
    rest = iter(whole)
    return all(item in rest for item in part)


def expected_close(world: World) -> bytes | None:
    """The payload of the close frame for the reason the connection ended; ``None``: there is none."""
    match world.connection.reason:
        case Normal():
            return world.stop
        case Remote(code=code):
            return b"" if code is None else code.to_bytes(2, "big")
        case Shutdown(restart=restart):
            return b"\x03\xf4" if restart else b"\x03\xe9"
        case Timeout(text=text):
            return b"\x03\xe9" + text.encode()
        case Error(cause=RemoteError(close_code=code)):
            return code.to_bytes(2, "big")
        case Error(cause=TransportError()):
            return None
    return b"\x03\xf3"
