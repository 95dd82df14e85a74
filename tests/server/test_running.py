"""``run`` in a process of its own: what it does with signals is told in tests/test_cli.py."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from trio_websock import Handler, Ok, OptionError, Server, run
from trio_websock.server.running import run_announced


class Quiet(Handler[None, Any]):
    def init(self, args: object) -> Ok[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Ok[None]:
        return Ok(None)


@pytest.mark.parametrize("code", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(code: signal.Signals) -> None:
    run_announced(Quiet, lambda server: signal.raise_signal(code), {"port": 0})


def test_it_ends_when_the_server_is_shut_down_from_inside() -> None:
    def announce(server: Server) -> None:
        server._begin_shutdown(restart=False, grace=0, rate=None)  # as a handler might, by server.shutdown()

    run_announced(Quiet, announce, {"port": 0})


def test_the_handlers_of_signals_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    run_announced(Quiet, lambda server: signal.raise_signal(signal.SIGTERM), {"port": 0})
    assert signal.getsignal(signal.SIGTERM) is before


def test_errors_come_bare_and_not_in_groups() -> None:
    with pytest.raises(OptionError):
        run(Quiet, port=-1)
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:80"):
        run(Quiet, host="192.0.2.1", port=80)
