"""The two ways a callback comes to run: in the connection's own task, or right where the message was noticed.

Which of them is up to the code of the handler. Here is a handler around a handler that makes it the one or the other;
see ``docs/explain-readiness.md``.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from trio_websock import Ok
from trio_websock.behaviour.handler import BoundHandler, Callbacks, bind_handler


class _Around:
    """The callbacks of a handler, each found when it is called."""

    bound: BoundHandler

    def __init__(self) -> None:
        self.callbacks: Callbacks = self.bound.open()

    def call(self, name: str, *arguments: Any) -> Any:
        callback = getattr(self.callbacks, name)
        if callback is None:  # nobody wants to know
            return Ok(arguments[-1])
        return callback(*arguments)


class _Awaiting(_Around):
    async def init(self, args: Any) -> Any:
        return await _settle(self.call("init", args))

    async def handle_in(self, message: Any, state: Any) -> Any:
        return await _settle(self.call("handle_in", message, state))

    async def handle_info(self, info: Any, state: Any) -> Any:
        return await _settle(self.call("handle_info", info, state))

    async def handle_control(self, frame: Any, state: Any) -> Any:
        return await _settle(self.call("handle_control", frame, state))

    async def terminate(self, reason: Any, state: Any) -> Any:
        return await _settle(self.call("terminate", reason, state))


class _Prompt(_Around):
    def init(self, args: Any) -> Any:
        return self.call("init", args)

    def handle_in(self, message: Any, state: Any) -> Any:
        return self.call("handle_in", message, state)

    def handle_info(self, info: Any, state: Any) -> Any:
        return self.call("handle_info", info, state)

    def handle_control(self, frame: Any, state: Any) -> Any:
        return self.call("handle_control", frame, state)

    def terminate(self, reason: Any, state: Any) -> Any:
        return self.call("terminate", reason, state)


async def _settle(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


def awaiting(handler: object) -> object:
    """``handler``, but each of its callbacks has an ``await``: the connection's own task runs them all."""
    return _around(_Awaiting, handler)


def prompt(handler: object) -> object:
    """``handler``, but each of its callbacks is a plain function: run at once, as far as what it returns lets it."""
    return _around(_Prompt, handler)


def _around(kind: type[_Around], handler: object) -> object:
    bound = bind_handler(handler)
    return type(bound.name, (kind,), {"bound": bound, "__module__": __name__})


EACH_WAY = pytest.mark.parametrize("way", [prompt, awaiting], ids=["prompt", "awaiting"])
