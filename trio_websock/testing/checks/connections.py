"""What ``current_connection()`` gives to a callback."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from trio_websock import (
    Ok,
    Push,
    current_connection,
    upgrade,
)

from ..scripted_peer import close, text
from ..stage import Checks, Stage, Witness

__all__ = ["CHECKS"]

CHECKS = Checks("callbacks")


# -- what the connection tells


@CHECKS.add()
async def current_connection_tells_request_and_subprotocol(stage: Stage) -> None:
    class Curious(Witness):
        def handle_in(self, message: Any, state: Any) -> Any:
            connection = current_connection()
            assert connection.request is not None
            return Push(f"{connection.request.path} {connection.subprotocol}", state)

    async with (
        stage.serve(lambda request: upgrade(Curious(stage), subprotocols=["chat"])) as server,
        await stage.connect(server) as peer,
    ):
        await peer.open("Sec-WebSocket-Protocol: chat", target="/where")
        await peer.send(text("?"))
        await peer.expect(b"\x81\x0b/where chat")


@CHECKS.add()
async def a_task_of_the_connections_nursery_reports_by_mail(stage: Stage) -> None:
    class Starter(Witness):
        async def init(self, args: Any) -> Any:
            connection = current_connection()
            connection.nursery.start_soon(connection.mailbox.send, "from a task")
            return Ok(0)

        def handle_info(self, info: Any, state: Any) -> Any:
            return Push(info, state)

    async with stage.open(Starter) as peer:
        await peer.expect(b"\x81\x0bfrom a task")


@CHECKS.add()
async def tasks_of_the_connections_nursery_end_with_it(stage: Stage) -> None:
    async def run_on(stage: Stage) -> None:
        try:
            await trio.sleep_forever()
        finally:
            stage.note("ended")

    class Starter(Witness):
        def init(self, args: Any) -> Any:
            current_connection().nursery.start_soon(run_on, self.stage)
            return Ok(0)

        def terminate(self, reason: Any, state: Any) -> None:
            pass

    async with stage.open(Starter) as peer:
        await peer.send(close(1000))
        await peer.expect(b"\x88\x02\x03\xe8")
        await peer.expect_end()
        await stage.expect_notes("ended")


@CHECKS.add()
async def connections_have_ids_of_their_own(stage: Stage) -> None:
    class Numbered(Witness):
        def init(self, args: Any) -> Any:
            return Push(str(current_connection().id), 0)

    async with (
        stage.serve(lambda request: upgrade(Numbered(stage))) as server,
        await stage.connect(server) as one,
        await stage.connect(server) as other,
    ):
        await one.open()
        await other.open()
        assert await one.receive_frame() != await other.receive_frame()
