"""Which subprotocol a handshake is answered with, whichever host answers it.

In: a request, and what the application said. Out: the subprotocol. Knows no connection; what is negotiated where the
application leaves the choice is said in ``protocol/upgrade.py``.
"""

from __future__ import annotations

from ..errors import StateError
from ..options import Options
from ..protocol.upgrade import negotiate_subprotocol
from ..request import Request

__all__ = ["choose_subprotocol"]


def choose_subprotocol(request: Request, chosen: str | None, options: Options) -> str | None:
    """The subprotocol to answer with; ``None`` for none.

    Args:
        request: the opening handshake.
        chosen: by the application itself; ``None`` leaves it to ``subprotocols`` of the options.
        options: of the connection.

    Raises:
        UpgradeRefused: 400, none in common and one is required.
        StateError: what was chosen has not been offered.
    """
    if chosen is None:
        if not options.subprotocols and not options.require_subprotocol:
            return None
        return negotiate_subprotocol(request, options.subprotocols, options.require_subprotocol)
    if chosen not in request.subprotocols:  # RFC 6455 §4.1: the client would fail the connection
        raise StateError(f"the application chose subprotocol {chosen!r}; offered were {request.subprotocols}")
    return chosen
