"""What a server serves: a handler or an application function, whose faults are logged and counted.

In: what ``serve`` was given. Out: what answers its requests.
"""

from __future__ import annotations

import logging

from ..application import Site, bind_application
from ..options import Options
from ..request import Request
from .ledger import Ledger

__all__ = ["site_for"]

logger: logging.Logger = logging.getLogger("trio_websock.server")


def site_for(handler_or_app: object, options: Options, ledger: Ledger) -> Site:
    """The site made of what ``serve`` was given.

    Raises:
        TypeError: it is neither a complete handler nor callable with a request.
    """

    def report(request: Request, fault: BaseException) -> None:
        ledger.application_errors += 1
        logger.error("the application function failed at %s %s", request.method, request.target, exc_info=fault)

    return bind_application(handler_or_app, options, report)
