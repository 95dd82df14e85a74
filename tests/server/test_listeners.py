"""Places where clients come in: of our own making and given, and what they survive."""

from __future__ import annotations

import errno
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from trio_websock import OptionError
from trio_websock.hosts.wire import SocketWire, Wire
from trio_websock.options import ServerOptions
from trio_websock.server.listeners import Entrance, SocketEntrance, open_entrances
from trio_websock.testing import MemoryListener


class Arrivals:
    """Collects what an entrance admits."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.came = trio.Event()

    def __call__(self, wire: Wire) -> None:
        self.wires.append(wire)
        self.came.set()


async def admit_one(entrance: Entrance, connect: Callable[[], Any]) -> Wire:
    """The first wire of ``entrance``, which is closed behind it."""
    arrivals = Arrivals()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(entrance.admit_clients, arrivals)
        stream = await connect()
        await arrivals.came.wait()
        nursery.cancel_scope.cancel()
    await stream.aclose()
    await entrance.aclose()
    return arrivals.wires[0]


async def open_one(**options: Any) -> Entrance:
    [entrance] = await open_entrances(ServerOptions(**options))
    return entrance


async def connect_to(entrance: Entrance) -> trio.SocketStream:
    assert isinstance(entrance.address, tuple)
    return await trio.open_tcp_stream(*entrance.address)


def listening_socket() -> socket.socket:
    sock = socket.create_server(("127.0.0.1", 0))
    return sock


async def test_a_tcp_client_comes_as_a_wire_that_knows_its_address() -> None:
    entrance = await open_one(port=0)
    wire = await admit_one(entrance, lambda: connect_to(entrance))
    assert wire.client is not None
    assert wire.client[0] == "127.0.0.1"
    await wire.aclose()


async def test_a_client_of_a_unix_socket_has_no_address(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    entrance = await open_one(path=path)
    assert entrance.address == path
    wire = await admit_one(entrance, lambda: trio.open_unix_socket(path))
    assert wire.client is None
    assert not Path(path).exists()
    await wire.aclose()


async def make_stdlib_socket() -> object:
    return listening_socket()


async def make_trio_socket() -> object:
    return trio.socket.from_stdlib_socket(listening_socket())


async def make_socket_listener() -> object:
    return (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]


@pytest.mark.parametrize("make", [make_stdlib_socket, make_trio_socket, make_socket_listener])
async def test_given_listening_sockets_are_taken_over(make: Any) -> None:
    entrance = await open_one(listeners=[await make()])
    wire = await admit_one(entrance, lambda: connect_to(entrance))
    assert isinstance(wire, SocketWire)
    await wire.aclose()


async def test_a_given_tls_listener_keeps_its_own_tls() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    [listener] = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
    entrance = await open_one(listeners=[listener])
    wire = await admit_one(entrance, lambda: connect_to(entrance))
    assert (wire.scheme, wire.client is None) == ("https", False)
    await wire.aclose()


async def test_any_listener_serves(memory_listener: Any) -> None:
    entrance = await open_one(listeners=[memory_listener])
    wire = await admit_one(entrance, memory_listener.connect)
    assert entrance.address is None
    await wire.aclose()


async def test_tls_over_another_listener_has_no_address(memory_listener: Any) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    entrance = await open_one(listeners=[trio.SSLListener(memory_listener, context)])
    wire = await admit_one(entrance, memory_listener.connect)
    assert (entrance.address, wire.client, wire.scheme) == (None, None, "https")
    await wire.aclose()


async def test_a_broken_listener_is_an_error(memory_listener: Any) -> None:
    async def accept() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise OSError(errno.EBADF, "broken")

    memory_listener.accept = accept
    entrance = await open_one(listeners=[memory_listener])
    with pytest.raises(OSError, match="broken"):
        await entrance.admit_clients(Arrivals())


async def test_a_socket_that_does_not_listen_is_refused() -> None:
    with (
        socket.socket() as sock,
        pytest.raises(OptionError, match="listeners must be listeners or sockets that listen"),
    ):
        await open_entrances(ServerOptions(listeners=[sock]))


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's own")
async def test_the_address_of_an_abstract_unix_socket_is_its_name_as_it_was_given(tmp_path: Path) -> None:
    name = f"\0{tmp_path}"
    entrance = await open_one(path=name)
    assert entrance.address == name
    await entrance.aclose()


async def test_what_another_server_has_closed_is_refused() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await (await open_one(listeners=[listener])).aclose()
    with pytest.raises(OptionError, match="listeners must be listeners or sockets that are open"):
        await open_entrances(ServerOptions(listeners=[listener]))
    sock = socket.socket()
    sock.close()
    with pytest.raises(OptionError, match="listeners must be listeners or sockets that are open"):
        await open_entrances(ServerOptions(listeners=[sock]))


async def test_something_that_is_no_listener_is_refused() -> None:
    with pytest.raises(OptionError, match="listeners must be"):
        await open_entrances(ServerOptions(listeners=[42]))  # type: ignore[list-item]  # the point of the test


async def test_one_failure_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listening_socket() as taken, pytest.raises(OSError, match="already in use"):
        await open_entrances(ServerOptions(path=str(path), port=taken.getsockname()[1]))
    assert not path.exists()


async def test_listeners_before_one_that_is_refused_are_closed() -> None:
    with listening_socket() as sock:
        with pytest.raises(OptionError, match="listeners must be"):
            await open_entrances(ServerOptions(listeners=[sock, 42]))  # type: ignore[list-item]  # the point of the test
        assert sock.fileno() < 0


class Sulking(socket.socket):
    """A listening socket whose ``accept`` fails as often as it is told to."""

    failures: list[int]

    def accept(self) -> tuple[socket.socket, Any]:
        if self.failures:
            raise OSError(self.failures.pop(0), "sulking")
        return super().accept()


def sulking_entrance(*failures: int) -> SocketEntrance:
    sock = Sulking()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    sock.failures = list(failures)
    return SocketEntrance(sock)


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM])
async def test_a_client_that_was_gone_before_it_was_accepted_is_passed_over(code: int) -> None:
    entrance = sulking_entrance(code)
    await (await admit_one(entrance, lambda: connect_to(entrance))).aclose()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
async def test_exhaustion_is_logged_and_waited_out(
    code: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_websock.server.listeners.EXHAUSTED_PAUSE", 0)
    entrance = sulking_entrance(code)
    await (await admit_one(entrance, lambda: connect_to(entrance))).aclose()
    assert "no client can be accepted for now" in caplog.text


async def test_a_broken_listening_socket_is_an_error() -> None:
    entrance = sulking_entrance(errno.EBADF)
    async with await connect_to(entrance):
        with pytest.raises(OSError, match="sulking"):
            await entrance.admit_clients(Arrivals())
    await entrance.aclose()


async def test_a_listener_without_sockets_is_waited_out_too(
    autojump_clock: trio.testing.MockClock, memory_listener: Any, caplog: pytest.LogCaptureFixture
) -> None:
    accept, failures = memory_listener.accept, [errno.EMFILE]

    async def accept_sulking() -> trio.abc.Stream:
        if failures:
            raise OSError(failures.pop(), "sulking")
        stream: trio.abc.Stream = await accept()
        return stream

    memory_listener.accept = accept_sulking
    entrance = await open_one(listeners=[memory_listener])

    async def connect() -> trio.abc.Stream:
        client: trio.abc.Stream = await memory_listener.connect()
        return client

    await (await admit_one(entrance, connect)).aclose()
    assert "no client can be accepted for now" in caplog.text


async def test_a_long_exhaustion_is_told_once_a_minute(
    autojump_clock: trio.testing.MockClock, memory_listener: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def accept_nobody() -> trio.abc.Stream:
        raise OSError(errno.EMFILE, "sulking")

    memory_listener.accept = accept_nobody
    entrance = await open_one(listeners=[memory_listener])
    with trio.move_on_after(150):
        await entrance.admit_clients(Arrivals())
    assert [record.getMessage() for record in caplog.records] == [
        f"no client can be accepted for now: [Errno {errno.EMFILE}] sulking"
    ] * 3


@pytest.mark.parametrize("kind", ["socket", "listener"])
def test_an_interrupt_waits_until_who_was_accepted_is_let_in(kind: str) -> None:
    admitted: list[Wire] = []

    def admit(wire: Wire) -> None:
        signal.raise_signal(signal.SIGINT)
        admitted.append(wire)
        wire.abort()

    async def main() -> None:
        listener = MemoryListener()
        entrance = await (open_one(port=0) if kind == "socket" else open_one(listeners=[listener]))
        async with await (connect_to(entrance) if kind == "socket" else listener.connect()):
            try:
                await entrance.admit_clients(admit)
            finally:
                await entrance.aclose()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert len(admitted) == 1
