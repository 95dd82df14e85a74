"""Chapter "Server shutdown": what every connection gets, and how long it may take."""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from typing import Any

import trio
import trio.testing

from trio_websock import Ok, Push, Request, Shutdown, Upgrade, upgrade

from ..scripted_peer import ScriptedPeer, close, text, upgrade_request
from ..stage import Capability, Checks, HostedServer, Stage, Witness
from .witnesses import Echo

__all__ = ["CHECKS"]

CHECKS = Checks("shutdown", Capability.SHUTDOWN)


class Plain(Witness):
    """Notes the kind of its end only."""

    def terminate(self, reason: Any, state: Any) -> Any:
        self.stage.note(type(reason))


class Busy(Plain):
    """Waits for the gate in a callback."""

    async def handle_in(self, message: Any, state: Any) -> Any:
        self.stage.note("busy")
        await self.stage.gate.wait()
        return Push("done", state)


class Endless(Plain):
    """Its callback ends only by cancellation."""

    async def handle_in(self, message: Any, state: Any) -> Any:
        self.stage.note("busy")
        try:
            await trio.sleep_forever()
        finally:
            self.stage.note("cancelled")


async def answer_close(peer: ScriptedPeer, frame: bytes) -> None:
    """Insist on a close frame, answer it, and insist on the end."""
    await peer.expect(frame)
    await peer.send(close(1000))
    await peer.expect_end()


@CHECKS.add_each(
    {"a shutdown": (False, b"\x88\x02\x03\xe9"), "a restart": (True, b"\x88\x02\x03\xf4")},
    also={"a restart": Capability.DRAINING},
)
async def every_connection_is_closed_by(stage: Stage, restart: bool, frame: bytes) -> None:
    async with (
        stage.serve(lambda request: upgrade(Plain(stage))) as server,
        await stage.connect(server) as one,
        await stage.connect(server) as other,
    ):
        await one.open()
        await other.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(server.shutdown, restart=restart))
            await answer_close(one, frame)
            await answer_close(other, frame)
        await stage.expect_notes(Shutdown, Shutdown)
        await server.finished.wait()


@CHECKS.add(Capability.DRAINING)
async def cancelling_the_server_does_the_same(stage: Stage) -> None:
    async with stage.serve(lambda request: upgrade(Plain(stage))) as server, await stage.connect(server) as peer:
        await peer.open()
        server.cancel()
        await answer_close(peer, b"\x88\x02\x03\xe9")
        await stage.expect_notes(Shutdown)
        await server.finished.wait()


@CHECKS.add()
async def a_shutdown_returns_when_all_is_drained(stage: Stage) -> None:
    async with stage.serve(lambda request: upgrade(Plain(stage))) as server, await stage.connect(server) as peer:
        await peer.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shut_down_and_note, stage, server)
            await peer.expect(b"\x88\x02\x03\xe9")
            await stage.expect_notes(Shutdown)
            await trio.testing.wait_all_tasks_blocked()
            stage.expect_no_note()
            await peer.send(close(1001))
            await stage.expect_notes("drained")


async def shut_down_and_note(stage: Stage, server: HostedServer) -> None:
    """Shut down and note when that is done."""
    await server.shutdown()
    stage.note("drained")


@CHECKS.add()
async def a_server_without_connections_shuts_down_at_once(stage: Stage) -> None:
    async with stage.serve(Echo(stage)) as server:
        await server.shutdown()
        await server.finished.wait()


@CHECKS.add()
async def a_running_callback_is_finished_first(stage: Stage) -> None:
    async with stage.serve(lambda request: upgrade(Busy(stage))) as server, await stage.connect(server) as peer:
        await peer.open()
        await peer.send(text("x"))
        await stage.expect_notes("busy")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.shutdown)
            await peer.expect_quiet()
            stage.gate.set()
            await answer_close(peer, b"\x81\x04done\x88\x02\x03\xe9")
        await stage.expect_notes(Shutdown)


@CHECKS.add()
async def a_running_init_is_finished_first(stage: Stage) -> None:
    class Slow(Plain):
        async def init(self, args: Any) -> Any:
            self.stage.note("busy")
            await self.stage.gate.wait()
            return Push("ready", 0)

    async with stage.serve(lambda request: upgrade(Slow(stage))) as server, await stage.connect(server) as peer:
        await peer.open()
        await stage.expect_notes("busy")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.shutdown)
            await peer.expect_quiet()
            stage.gate.set()
            await answer_close(peer, b"\x81\x05ready\x88\x02\x03\xe9")
        await stage.expect_notes(Shutdown)


@CHECKS.add(Capability.DRAINING)
async def nobody_can_connect_during_a_shutdown(stage: Stage) -> None:
    async with stage.serve(lambda request: upgrade(Busy(stage))) as server, await stage.connect(server) as peer:
        await peer.open()
        await peer.send(text("x"))
        await stage.expect_notes("busy")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.shutdown)
            await trio.testing.wait_all_tasks_blocked()
            try:
                await (await server.connect()).aclose()
                raise AssertionError("the server still listens")
            except OSError:
                stage.gate.set()
            await answer_close(peer, b"\x81\x04done\x88\x02\x03\xe9")


@CHECKS.add(Capability.HTTP)
async def an_upgrade_the_application_grants_too_late_is_refused_with_503(stage: Stage) -> None:
    async def hesitate(request: Request) -> Upgrade:
        stage.note("asked")
        await stage.gate.wait()
        return upgrade(Plain(stage))

    async with stage.serve(hesitate) as server, await stage.connect(server) as late:
        await late.send(upgrade_request(late.authority))
        await stage.expect_notes("asked")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.shutdown)
            await trio.testing.wait_all_tasks_blocked()
            stage.gate.set()
            answer = await late.expect_status(503)
            assert answer.header("Retry-After")
            await late.aclose()


@CHECKS.add(Capability.HTTP)
async def a_peer_in_the_middle_of_its_handshake_is_not_upgraded_any_more(stage: Stage) -> None:
    async with stage.serve(lambda request: upgrade(Busy(stage))) as server, await stage.connect(server) as late:
        head = upgrade_request(late.authority)
        await late.send(head[:20])
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.shutdown)
            await trio.testing.wait_all_tasks_blocked()
            with contextlib.suppress(trio.BrokenResourceError):
                await late.send(head[20:])
            assert (await late.receive_until_gone())[:13] in (b"", b"HTTP/1.1 503 ")


# -- when grace is over


@CHECKS.add()
async def a_running_callback_is_cancelled_when_grace_is_over(stage: Stage) -> None:
    async with stage.serve(lambda request: upgrade(Endless(stage))) as server, await stage.connect(server) as peer:
        await peer.open()
        await peer.send(text("x"))
        await stage.expect_notes("busy")
        await server.shutdown(grace=stage.seconds(5))
        await stage.expect_notes("cancelled", Shutdown)
        await peer.receive_until_gone()
        await server.finished.wait()


@CHECKS.add()
async def a_grace_of_zero_aborts_at_once(stage: Stage) -> None:
    async with stage.serve(lambda request: upgrade(Endless(stage))) as server, await stage.connect(server) as peer:
        await peer.open()
        await peer.send(text("x"))
        await stage.expect_notes("busy")
        await server.shutdown(grace=0)
        await stage.expect_notes("cancelled", Shutdown)
        await peer.receive_until_gone()


@CHECKS.add(Capability.VIRTUAL_TIME)
async def a_grace_of_zero_takes_no_time(stage: Stage) -> None:
    async with stage.serve(lambda request: upgrade(Plain(stage))) as server, await stage.connect(server) as peer:
        await peer.open()
        start = trio.current_time()
        await server.shutdown(grace=0)
        assert trio.current_time() == start
        await stage.expect_notes(Shutdown)


@CHECKS.add(Capability.RESET)
async def an_abort_is_a_reset(stage: Stage) -> None:
    async with stage.serve(lambda request: upgrade(Endless(stage))) as server, await stage.connect(server) as peer:
        await peer.open()
        await peer.send(text("x"))
        await stage.expect_notes("busy")
        await server.shutdown(grace=0)
        await peer.expect_reset()


@CHECKS.add(Capability.DRAINING, Capability.VIRTUAL_TIME)
async def a_shutdown_by_cancellation_takes_grace_at_most(stage: Stage) -> None:
    async with (
        stage.serve(lambda request: upgrade(Endless(stage)), grace=7) as server,
        await stage.connect(server) as peer,
    ):
        await peer.open()
        await peer.send(text("x"))
        await stage.expect_notes("busy")
        start = trio.current_time()
        server.cancel()
        await server.finished.wait()
        assert 7 <= trio.current_time() - start <= 7.1
        await stage.expect_notes("cancelled", Shutdown)


@CHECKS.add(Capability.VIRTUAL_TIME)
async def a_peer_that_does_not_answer_takes_grace_at_most(stage: Stage) -> None:
    async with stage.serve(lambda request: upgrade(Plain(stage))) as server, await stage.connect(server) as peer:
        await peer.open()
        start = trio.current_time()
        await server.shutdown(grace=7)
        assert 7 <= trio.current_time() - start <= 7.1


@CHECKS.add(Capability.VIRTUAL_TIME)
async def a_peer_that_does_not_read_takes_grace_at_most(stage: Stage) -> None:
    class Pushing(Plain):
        def handle_in(self, message: Any, state: Any) -> Any:
            self.stage.note("busy")
            return Push(b"x" * 1_000_000, state)

    async with stage.serve(lambda request: upgrade(Pushing(stage))) as server, await stage.connect(server) as peer:
        await peer.open()
        await peer.send(text("x"))
        await stage.expect_notes("busy")
        start = trio.current_time()
        await server.shutdown(grace=7)
        assert 7 <= trio.current_time() - start <= 7.1
        await stage.expect_notes(Shutdown)


class SlowToEnd(Witness):
    """Would take a hundred seconds to terminate."""

    async def terminate(self, reason: Any, state: Any) -> None:
        self.stage.note(type(reason))
        try:
            await trio.sleep(100)
        finally:
            self.stage.note("cancelled")


@CHECKS.add(Capability.VIRTUAL_TIME)
async def terminate_timeout_is_capped_by_grace(stage: Stage) -> None:
    async with (
        stage.serve(lambda request: upgrade(SlowToEnd(stage)), terminate_timeout=50) as server,
        await stage.connect(server) as peer,
    ):
        await peer.open()
        start = trio.current_time()
        await server.shutdown(grace=7)
        assert 7 <= trio.current_time() - start <= 7.1
        await stage.expect_notes(Shutdown, "cancelled")


@CHECKS.add(Capability.VIRTUAL_TIME)
async def terminate_ends_at_its_own_timeout_within_grace(stage: Stage) -> None:
    async with (
        stage.serve(lambda request: upgrade(SlowToEnd(stage)), terminate_timeout=3) as server,
        await stage.connect(server) as peer,
    ):
        await peer.open()
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.shutdown)
            await answer_close(peer, b"\x88\x02\x03\xe9")
        assert 3 <= trio.current_time() - start <= 3.1
        await stage.expect_notes(Shutdown, "cancelled")


@CHECKS.add()
async def terminate_is_called_past_the_deadline_up_to_its_first_checkpoint(stage: Stage) -> None:
    class Late(Endless):
        async def terminate(self, reason: Any, state: Any) -> None:
            self.stage.note(type(reason))
            try:
                await trio.lowlevel.checkpoint()
                self.stage.note("never")
            finally:
                self.stage.note("cancelled again")

    async with stage.serve(lambda request: upgrade(Late(stage))) as server, await stage.connect(server) as peer:
        await peer.open()
        await peer.send(text("x"))
        await stage.expect_notes("busy")
        await server.shutdown(grace=0)
        await stage.expect_notes("cancelled", Shutdown, "cancelled again")


@CHECKS.add(Capability.VIRTUAL_TIME)
async def a_shield_of_the_handlers_own_holds_the_server_but_not_its_peer(stage: Stage) -> None:
    class Shielded(Plain):
        async def handle_in(self, message: Any, state: Any) -> Any:
            self.stage.note("busy")
            with trio.CancelScope(shield=True):
                await self.stage.gate.wait()
            return Ok(state)

    async with stage.serve(lambda request: upgrade(Shielded(stage))) as server, await stage.connect(server) as peer:
        await peer.open()
        await peer.send(text("x"))
        await stage.expect_notes("busy")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(server.shutdown, grace=7))
            start = trio.current_time()
            await peer.receive_until_gone()
            assert trio.current_time() - start <= 7.1
            await trio.sleep(100)
            assert not server.finished.is_set()
            assert any("Shielded" in record.getMessage() for record in stage.logged(logging.WARNING))
            stage.gate.set()
        await server.finished.wait()
