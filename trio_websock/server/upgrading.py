"""From a request and a wish to an open connection: the handshake of RFC 6455 §4.2.

In: a request and what the application wants of it. Out: the bytes of the 101 and all that the connection behind it
will need. Decides by asking ``protocol/upgrade.py`` in the order of the rulings; sends nothing itself.
"""

from __future__ import annotations

from typing import NamedTuple, Unpack

from ..application import Wish, site_options
from ..connection import Connection
from ..headers import forget_index
from ..hosts.stream import open_stream_transport
from ..hosts.subprotocol import choose_subprotocol
from ..hosts.wire import Wire
from ..options import ConnectionKeywords
from ..protocol.frames import Role
from ..protocol.negotiation import DeflateParameters, negotiate_deflate
from ..protocol.upgrade import check_origin, check_upgrade_request, negotiate_subprotocol
from ..request import Request
from .answers import serialize_switch

__all__ = ["Agreement", "agree_on_upgrade", "check_upgrade"]


class Agreement(NamedTuple):
    """What both ends have agreed on.

    Args:
        answer: the 101, as bytes.
    """

    request: Request
    wish: Wish
    subprotocol: str | None
    deflate: DeflateParameters | None
    answer: bytes

    def open(self, wire: Wire, leftover: bytes) -> Connection:
        """The connection, once the answer is on the wire."""
        options = self.wish.options
        forget_index(self.request.headers)
        transport = open_stream_transport(wire, Role.SERVER, options, self.subprotocol, self.deflate, leftover)
        return Connection(transport, options, self.request)


def agree_on_upgrade(request: Request, wish: Wish) -> Agreement:
    """Answer the handshake.

    Raises:
        UpgradeRefused: with the status and the words of the refusal.
        StateError: the application wants headers that may not be sent, or a subprotocol that was not offered.
    """
    options = wish.options
    accept = check_upgrade_request(request)
    check_origin(request, options.origins)
    subprotocol = choose_subprotocol(request, wish.subprotocol, options)
    extension = None
    if options.deflate is not None:
        extension = negotiate_deflate(request.headers.get_all("sec-websocket-extensions"), options.deflate)
    extensions, deflate = extension or (None, None)
    answer = serialize_switch(accept, subprotocol, extensions, wish.headers)
    return Agreement(request, wish, subprotocol, deflate, answer)


def check_upgrade(request: Request, **options: Unpack[ConnectionKeywords]) -> None:
    """Check whether ``request`` could be upgraded with these options, and do nothing else.

    For application functions that want to know before they do expensive work; the same checks run when the
    application has returned an ``upgrade(...)``. What is not given here is as it was given to :func:`serve`.

    Args:
        request: as the application got it.
        options: those that would be given to :func:`upgrade`; here ``origins``, ``subprotocols`` and
            ``require_subprotocol`` matter.

    Raises:
        UpgradeRefused: with the status and the words of the answer; raised on, it becomes that answer.
        TypeError: an option that does not exist.
        OptionError: an option with a value that is not allowed.

    Source: WebSockAdapter's ``early_validate_upgrade``.
    """
    checked = site_options.get().merged(options)
    check_upgrade_request(request)
    check_origin(request, checked.origins)
    negotiate_subprotocol(request, checked.subprotocols, checked.require_subprotocol)
