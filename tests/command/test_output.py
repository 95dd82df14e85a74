"""Writing to a file descriptor that may be slow."""

from __future__ import annotations

import os

import pytest
import trio

from trio_websock.command.output import Output


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            pass  # the test has closed it


async def test_lines_come_out_in_order(pipe, nursery):
    output = Output(pipe[1])
    nursery.start_soon(output.run)
    for line in ("a", "ä", ""):
        output.put_nowait(line)
    await output.drain()
    assert os.read(pipe[0], 100) == "a\nä\n\n".encode()
    nursery.cancel_scope.cancel()


async def test_what_has_no_encoding_is_written_out(pipe, nursery):
    output = Output(pipe[1])
    nursery.start_soon(output.run)
    output.put_nowait("\udcff")
    await output.drain()
    assert os.read(pipe[0], 100) == b"\\udcff\n"
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_blocking", [True, False])
async def test_a_slow_reader_is_waited_for_and_stops_nobody(pipe, nursery, is_blocking):
    reader, writer = pipe
    os.set_blocking(writer, is_blocking)
    output = Output(writer)
    nursery.start_soon(output.run)
    output.put_nowait("x" * 1_000_000)
    with trio.CancelScope() as scope:
        nursery.start_soon(cancel_soon, scope)
        await output.wait_room()
    assert scope.cancelled_caught
    size = 0
    while size < 1_000_001:
        size += len(await trio.to_thread.run_sync(os.read, reader, 65536))
    await output.drain()
    nursery.cancel_scope.cancel()


async def cancel_soon(scope):
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


async def test_nobody_who_reads_is_an_error(pipe):
    os.close(pipe[0])
    output = Output(pipe[1])
    output.put_nowait("x")
    with pytest.raises(BrokenPipeError):
        await output.run()


async def test_there_is_room_at_first():
    await Output(1).wait_room()
