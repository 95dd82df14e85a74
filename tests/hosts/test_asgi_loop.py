"""A Trio loop beside another."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from functools import partial

import pytest
import trio
import trio.testing

from trio_websock import StateError
from trio_websock.hosts.asgi_loop import TrioLoop, start_loop


def test_tasks_run_in_a_thread_of_its_own() -> None:
    loop, names = start_loop(), []

    async def note() -> None:
        names.append(threading.current_thread().name)
        loop.end()

    loop.post(partial(loop.start_soon, note))
    loop.join()
    assert names == ["trio_websock ASGI"]


def test_whoever_watches_is_told_of_the_end() -> None:
    loop, told = start_loop(), []
    loop.watch(lambda: told.append("watching"))
    unwanted = lambda: told.append("not watching any more")  # noqa: E731  # one object, to be found again
    loop.watch(unwanted)
    loop.unwatch(unwanted)
    loop.end()
    loop.join()
    assert told == ["watching"]


def test_what_comes_behind_the_end_is_dropped_or_refused() -> None:
    loop = start_loop()
    loop.end()
    assert loop.is_over
    loop.join()
    loop.post(lambda: pytest.fail("called"))
    loop.end()
    with pytest.raises(StateError):
        loop.watch(lambda: None)


async def test_a_task_that_comes_behind_the_end_is_dropped() -> None:
    loop = TrioLoop()
    async with trio.open_nursery() as nursery:
        await nursery.start(loop.serve)
        loop.end()
    loop.start_soon(trio.sleep_forever)
    await trio.testing.wait_all_tasks_blocked()


def test_a_task_that_fails_ends_the_loop_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    loop, told = start_loop(), threading.Event()
    loop.watch(told.set)

    async def fail() -> None:
        raise SystemExit(3)

    (thread,) = [thread for thread in threading.enumerate() if thread.name == "trio_websock ASGI"]
    loop.post(partial(loop.start_soon, fail))
    thread.join()  # its last words come behind the end of the loop
    assert told.is_set()
    assert caplog.records[-1].levelno == logging.CRITICAL


OUT_OF_FILES = """
import resource
from trio_websock import StateError
from trio_websock.hosts.asgi_loop import start_loop

most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, most[1]))
try:
    start_loop()
except StateError:
    resource.setrlimit(resource.RLIMIT_NOFILE, most)
    loop = start_loop()
    loop.end()
    loop.join()
    print("once more")
"""


def test_a_loop_that_cannot_begin_is_told_of_and_the_next_may() -> None:
    process = subprocess.run([sys.executable, "-c", OUT_OF_FILES], capture_output=True, text=True, timeout=60)
    assert process.stdout == "once more\n"


async def test_it_may_be_part_of_a_trio_loop_that_is_there_already() -> None:
    loop, called = TrioLoop(), trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(loop.serve)
        loop.post(called.set)
        await called.wait()
        loop.end()


def test_the_end_of_the_process_is_its_end_as_well() -> None:
    script = """
import threading, trio
from trio_websock.hosts.asgi_loop import start_loop
loop = start_loop()
started = threading.Event()

async def linger():
    try:
        started.set()
        await trio.sleep_forever()
    finally:
        print("ended")

loop.post(lambda: loop.start_soon(linger))
started.wait()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("ended\n", "")
