"""Handlers that more than one chapter has a use for."""

from __future__ import annotations

from typing import Any

from trio_websock import Ok, Push

from ..stage import Witness

__all__ = ["Echo", "Noting"]


class Echo(Witness):
    """Sends every message back; its state is their count."""

    def handle_in(self, message: Any, state: Any) -> Any:
        return Push(message, state + 1)


class Noting(Witness):
    """Notes every callback with what it got."""

    def handle_in(self, message: Any, state: Any) -> Any:
        self.stage.note(message)
        return Ok(state)

    def handle_control(self, frame: Any, state: Any) -> Any:
        self.stage.note(frame)
        return Ok(state)

    def handle_info(self, info: Any, state: Any) -> Any:
        self.stage.note(info)
        return Ok(state)
