"""A handler on one connection of a client: what it does there is what it does on a server's, and is remembered.

In: a handler, and the connection it is about to live on. Out: the same handler, as the runtime takes one, with two
things beside it: the client's mailbox reaches ``handle_info``, and the last state is known afterwards.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, final

from ..behaviour.handler import BoundHandler, bind_handler
from ..behaviour.reasons import Reason
from ..connection import Connection
from .forwarding import Forwarded, Forwarding

__all__ = ["Tenancy"]


@final
class Tenancy:
    """What a client keeps from one connection to the next.

    Args:
        handler: whose callbacks every connection runs.
        forwarding: the client's mailbox.
    """

    __slots__ = ("_forwarding", "_handler", "has_new_state", "state")

    def __init__(self, handler: BoundHandler, forwarding: Forwarding) -> None:
        self._handler = handler
        self._forwarding = forwarding
        #: What the last callback to succeed returned, of any connection that has ended; ``None`` before that.
        self.state: Any = None
        #: Whether the last connection had a state, as its ``init`` succeeded.
        self.has_new_state: bool = False

    def bind(self, connection: Connection) -> BoundHandler:
        """The handler for ``connection``: a new instance if it is a class."""
        callbacks = self._handler.open()
        self.has_new_state = False

        def init(args: object) -> object:
            # In the nursery of the connection, as a task that the application has started there.
            connection.nursery.start_soon(self._forwarding.run, connection.mailbox.clone())
            return callbacks.init(args)

        def handle_info(info: object, state: object) -> object:
            return callbacks.handle_info(info.item if type(info) is Forwarded else info, state)

        def terminate(reason: Reason, state: object) -> object:
            self.state, self.has_new_state = state, True
            return None if callbacks.terminate is None else callbacks.terminate(reason, state)

        bound = SimpleNamespace(
            __name__=self._handler.name,
            init=init,
            handle_in=callbacks.handle_in,
            handle_info=handle_info,
            terminate=terminate,
        )
        if callbacks.handle_control is not None:
            bound.handle_control = callbacks.handle_control
        return bind_handler(bound)
