"""Sockets that listen: addresses, shared ports, files, and errors that name what they are about."""

from __future__ import annotations

import errno
import socket
import stat
from pathlib import Path

import pytest

from trio_websock.server import binding
from trio_websock.server.binding import SocketFile, bind_tcp, bind_unix


def close_all(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


async def test_port_0_is_one_free_port_for_all_addresses() -> None:
    sockets = await bind_tcp(["127.0.0.1", "127.0.0.2"], 0, None)
    assert len({sock.getsockname()[1] for sock in sockets} - {0}) == 1
    assert [sock.getsockname()[0] for sock in sockets] == ["127.0.0.1", "127.0.0.2"]
    close_all(sockets)


async def test_an_address_given_twice_is_listened_on_once() -> None:
    sockets = await bind_tcp(["127.0.0.1", "127.0.0.1"], 0, 5)
    assert len(sockets) == 1
    close_all(sockets)


async def test_no_host_is_every_interface() -> None:
    sockets = await bind_tcp(None, 0, None)
    assert "0.0.0.0" in [sock.getsockname()[0] for sock in sockets]
    close_all(sockets)


async def test_ipv6_is_listened_on_apart_from_ipv4() -> None:
    try:
        sockets = await bind_tcp("::1", 0, None)
    except OSError:
        pytest.skip("no IPv6 on this machine")
    assert sockets[0].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    close_all(sockets)


async def test_a_port_in_use_is_named_and_leaves_nothing_open() -> None:
    [first] = await bind_tcp("127.0.0.1", 0, None)
    port = first.getsockname()[1]
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use") as caught:
        await bind_tcp(["127.0.0.2", "127.0.0.1"], port, None)
    assert caught.value.errno == errno.EADDRINUSE
    close_all([first, *await bind_tcp("127.0.0.2", port, None)])


async def test_a_host_that_is_not_ours_is_named() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0: "):
        await bind_tcp("192.0.2.1", 0, None)


@pytest.mark.parametrize("name", ["no such name", "a..b", "a" * 64 + ".example"])
async def test_a_name_without_an_address_is_named(name: str) -> None:
    with pytest.raises(OSError, match=f"cannot listen on '{name}': "):
        await bind_tcp(name, 0, None)


def fail_for(monkeypatch: pytest.MonkeyPatch, code: int, *families: int, times: int = 99) -> None:
    """Let listening fail with ``code`` for addresses of ``families``, the first ``times`` times."""
    listen, failures = binding._listen_on, [code] * times

    def listen_or_fail(address: tuple[int, str, int, int], port: int, backlog: int) -> socket.socket:
        if address[0] in families and failures:
            raise OSError(failures.pop(), "as told")
        return listen(address, port, backlog)

    monkeypatch.setattr(binding, "_listen_on", listen_or_fail)


async def test_every_interface_is_every_one_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_for(monkeypatch, errno.EAFNOSUPPORT, socket.AF_INET6)
    sockets = await bind_tcp(None, 0, None)
    assert [sock.family for sock in sockets] == [socket.AF_INET]
    close_all(sockets)


async def test_no_interface_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_for(monkeypatch, errno.EAFNOSUPPORT, socket.AF_INET6, socket.AF_INET)
    with pytest.raises(OSError, match="as told"):
        await bind_tcp(None, 0, None)


async def test_a_shared_port_that_is_taken_elsewhere_is_tried_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_for(monkeypatch, errno.EADDRINUSE, socket.AF_INET, times=4)
    close_all(await bind_tcp("127.0.0.1", 0, None))


async def test_a_shared_port_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_for(monkeypatch, errno.EADDRINUSE, socket.AF_INET)
    with pytest.raises(OSError, match="as told"):
        await bind_tcp("127.0.0.1", 0, None)


def test_a_unix_socket_is_a_file_until_it_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    sock, file = bind_unix(str(path), None)
    assert stat.S_ISSOCK(path.stat().st_mode)
    file.remove()
    assert not path.exists()
    sock.close()


def test_the_file_of_a_dead_server_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    bind_unix(str(path), None)[0].close()
    sock, file = bind_unix(str(path), None)
    sock.close()
    file.remove()


def test_a_living_server_is_not_robbed_of_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    sock, _ = bind_unix(str(path), None)
    with pytest.raises(OSError, match="another server listens there") as caught:
        bind_unix(str(path), None)
    assert caught.value.errno == errno.EADDRINUSE
    sock.close()


def test_a_living_server_that_is_busy_is_not_robbed_either(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    sock, _ = bind_unix(path, 1)
    waiting = []
    try:
        while True:
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            waiting[-1].connect(path)
    except BlockingIOError:
        pass  # now its backlog is full
    with pytest.raises(OSError, match="another server listens there"):
        bind_unix(path, None)
    close_all([sock, *waiting])


def test_another_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(FileExistsError, match=r"cannot listen on .*precious: there is a file that is not a socket"):
        bind_unix(str(path), None)
    assert path.read_text() == "data"


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"cannot listen on .*nowhere/socket"):
        bind_unix(str(tmp_path / "nowhere" / "socket"), None)


def test_a_path_too_long_for_a_socket_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot listen on .*AF_UNIX path too long") as caught:
        bind_unix(str(tmp_path / ("a" * 120)), None)
    assert caught.value.errno == errno.ENAMETOOLONG


def test_a_path_that_no_file_can_have_is_named() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 'a\\x00b': embedded null byte"):
        bind_unix("a\0b", None)


def test_the_file_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    sock, file = bind_unix(str(path), None)
    path.rename(tmp_path / "old")
    successor, _ = bind_unix(str(path), None)
    file.remove()
    assert path.exists()
    sock.close()
    successor.close()


def test_removing_a_file_that_is_gone_does_nothing(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    sock, file = bind_unix(str(path), None)
    path.unlink()
    file.remove()
    sock.close()


def test_an_abstract_name_has_no_file() -> None:
    sock, file = bind_unix("\0trio_websock-test-binding", None)
    file.remove()
    sock.close()
    assert isinstance(file, SocketFile)
