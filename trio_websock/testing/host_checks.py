"""The conformance suite: every claim of the rulings, to be asked of every host.

In: a :class:`Host`. Out: nothing where it holds, an exception where it does not. The checks themselves stand in
``checks/``, one module per chapter of the rulings; what they are written with is ``stage.py``. A test runner asks one
check at a time with :func:`run_check`; what a host cannot be asked is told by :func:`missing_capabilities`.
"""

from __future__ import annotations

from functools import partial

import trio

from .checks import (
    applications,
    callbacks,
    closing,
    compression,
    connections,
    failures,
    idle,
    leaving,
    order,
    protocol,
    results,
    shutdown,
    upgrades,
)
from .stage import Capability, Check, Host, Stage

__all__ = ["ALL_CHECKS", "Capability", "Check", "Host", "missing_capabilities", "run_check"]

ALL_CHECKS: tuple[Check, ...] = (
    *callbacks.CHECKS,
    *order.CHECKS,
    *leaving.CHECKS,
    *connections.CHECKS,
    *results.CHECKS,
    *failures.CHECKS,
    *closing.CHECKS,
    *idle.CHECKS,
    *shutdown.CHECKS,
    *protocol.CHECKS,
    *compression.CHECKS,
    *upgrades.CHECKS,
    *applications.CHECKS,
)
"""Every check, in the order of the rulings."""


def missing_capabilities(host: Host, check: Check) -> frozenset[Capability]:
    """What ``host`` would have to be able to do before it could be asked."""
    return check.needs - host.capabilities


def run_check(host: Host, check: Check) -> None:
    """Ask ``host`` whether the claim of ``check`` holds, in a Trio run of its own.

    Raises:
        AssertionError: it does not. What else a broken host may cause comes through as it is.
    """
    trio.run(partial(_play, host, check), clock=host.make_clock())


async def _play(host: Host, check: Check) -> None:
    await Stage(host).play(check)
