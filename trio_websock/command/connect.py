"""The command ``connect``: who is asked, who is told, and the exit status.

In: words of a command line, and the three standard streams. Out: an exit status.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Sequence

import trio

from ..errors import OptionError
from .events import Noted
from .exchange import ExitStatus, run_exchange
from .lines import GivenMessages, InputLines, Source, order_for_bytes, order_for_text, order_for_typed
from .output import Output
from .plan import Plan, Unusable, make_plan
from .voices import JsonVoice, PlainVoice, TerminalVoice, Voice, complain

__all__ = ["connect_main"]

STDIN, STDOUT, STDERR = 0, 1, 2
LAST_WORDS_TIMEOUT = 1.0  # seconds for a reader to take what is left, once we have been told to end

_NO_EDITOR = "lines are edited by the terminal only: for history and more, pip install 'trio-websock[cli]'"


def connect_main(words: Sequence[str]) -> int:
    """Run ``connect`` with the words behind it.

    Returns:
        The exit status; see docs/command.md.
    """
    _occupy_standard_streams()
    try:
        plan = make_plan(words, is_terminal=os.isatty(STDIN) and os.isatty(STDOUT))
        return _run(plan)
    except (Unusable, OptionError) as exc:
        complain(str(exc))
        return ExitStatus.USAGE
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED


def _occupy_standard_streams() -> None:
    """Have none that is closed be confused with what Trio opens next: that would get its number."""
    for fd in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # gets the lowest number that is free, so this one


def _run(plan: Plan) -> int:
    try:
        return trio.run(_converse, plan)
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is None:
            return ExitStatus.INTERRUPTED
        raise


async def _converse(plan: Plan) -> ExitStatus:
    if plan.is_interactive and importlib.util.find_spec("prompt_toolkit") is not None:
        from .editor import LineEditor

        editor = LineEditor()
        return await run_exchange(plan, editor, TerminalVoice(editor))
    return await _converse_through(Output(STDOUT), plan)


async def _converse_through(output: Output, plan: Plan) -> ExitStatus:
    status = ExitStatus.NOBODY_READS
    failure: OptionError | None = None
    voice = _voice_for(plan, output)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_write, output, nursery.cancel_scope)
        try:
            if plan.is_interactive:
                voice.tell(Noted(_NO_EDITOR))
            ending = await run_exchange(plan, _source_for(plan), voice)
            with trio.move_on_after(math.inf if ending < ExitStatus.INTERRUPTED else LAST_WORDS_TIMEOUT):
                await output.drain()
            status = ending  # not before: what is left may have nowhere to go
        except OptionError as exc:
            failure = exc  # kept out of the nursery's group
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return status


async def _write(output: Output, scope: trio.CancelScope) -> None:
    try:
        await output.run()
    except OSError as exc:
        if not isinstance(exc, BrokenPipeError):
            complain(f"cannot write: {exc.strerror or exc}")
        scope.cancel()


def _source_for(plan: Plan) -> Source:
    if plan.messages is not None:
        return GivenMessages(plan.messages, plan.is_binary)
    if plan.is_interactive:
        return InputLines(STDIN, order_for_typed)
    return InputLines(STDIN, order_for_bytes if plan.is_binary else order_for_text)


def _voice_for(plan: Plan, output: Output) -> Voice:
    if plan.is_interactive:
        return TerminalVoice(output)
    return JsonVoice(output) if plan.is_json else PlainVoice(output, plan.is_verbose, os.isatty(STDOUT))
