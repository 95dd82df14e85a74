"""Whether a client that has no connection tries again, when, and with what.

In: how the last connection ended, or why there was none, and how often in a row. Out: what to do, and after how many
seconds. Waits for nothing, connects nothing, and has no clock: chance is all it needs.
"""

from __future__ import annotations

import enum
import random
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeAlias, final

from ..behaviour.reasons import DISCONNECTED, RESTART, Error, Normal, Reason, Remote, Timeout, stop_outcome
from ..codes import SENDABLE, CloseCode, is_sendable
from ..errors import ConnectionLost, OptionError, WriteTimeout
from ..option_checks import check_count, check_flag, check_function
from .answer import HandshakeResponse
from .failures import ConnectFailed, HandshakeError, ProxyFailed, UpgradeRejected

__all__ = ["SAME", "Again", "Decide", "Outage", "Reconnect", "read_retry_after"]


class _Same(enum.Enum):
    SAME = "same"


SAME: Final = _Same.SAME
"""Stands for the ``args`` that nobody has changed."""

RECONNECTING_CODES = frozenset({1001, 1011, 1012, 1013, 1014})
MAX_FACTOR = 1000  # what grows faster has no second attempt worth the name
MAX_RETRY_AFTER = 24 * 3600.0  # seconds; what is longer was not meant for a program that waits

# Server errors that the same request will meet again: not implemented, and a version of HTTP nobody speaks there.
_LASTING_STATUSES = frozenset({501, 505})
_PASSING_STATUSES = frozenset({408, 425, 429})

# terminate is told Normal() after three kinds of Stop, and two of them say that the connection, not the work, is over.
# The table has one object for each, equal to the others, so that identity tells them apart.
_COMING_BACK = tuple(stop_outcome(reason)[0] for reason in (RESTART, DISCONNECTED))


@final
@dataclass(frozen=True, slots=True)
class Again:
    """Try again.

    Args:
        delay: seconds to wait before; ``None`` waits as long as the :class:`Reconnect` says.
        args: for ``init``; by default those of the outage.
        url: where to connect from now on; ``None`` stays with the last.
        options: keywords of ``connect`` that are different from now on, such as a new ``authorization``.
    """

    delay: float | None = None
    args: Any = SAME
    url: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.delay is not None:
            _check_number("delay", self.delay, 0)


@final
@dataclass(frozen=True, slots=True)
class Outage:
    """Why there is no connection, for the one who decides whether there will be another.

    Args:
        cause: what ``terminate`` was told, or would have been had ``init`` succeeded; or the error of an attempt that
            led to no connection.
        state: what the last callback to succeed returned, be it of an earlier connection; ``None`` if there was none.
        args: what ``init`` is given next: what it was given before, or the last state with ``keep_state``.
        attempts: in a row, this one included, that led to no connection or to one that did not last.
        proposal: what is done if nobody decides; ``None`` ends ``connect``.
    """

    cause: Reason | ConnectFailed | HandshakeError
    state: Any
    args: Any
    attempts: int
    proposal: Again | None


Decide: TypeAlias = Callable[[Outage], "Again | Awaitable[Again | None] | None"]
"""What an application has to say about an outage; ``None`` ends ``connect``."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """When and how often a client connects again.

    The first attempt waits up to ``initial_delay`` seconds, each further one in a row up to ``factor`` times longer,
    none over ``max_delay``. A share of that is left to chance, so that not all clients of a server come back at once.

    Args:
        initial_delay: seconds before the first attempt, at most.
        factor: by which each attempt in a row waits longer than the one before.
        max_delay: seconds that no attempt waits longer than, unless the server asks for more.
        jitter: the share of each delay that is left to chance: 1 for all of it, 0 for none.
        restart_delay: seconds before the first attempt after a close with 1012, at most.
        busy_delay: seconds before any attempt after a close with 1013, at least; and not more than twice that to begin
            with.
        max_attempts: attempts in a row without success before it is given up; ``None`` never gives up.
        reset_after: seconds that a connection has to last to count as a success.
        codes: close codes of the server after which a client connects again.
        keep_state: whether ``init`` is given the last state instead of ``args``, once there is one.
        decide: asked at every outage, plain or async; has the last word.

    Source: RFC 6455 §7.2.3; 1012 and 1013 as registered with IANA.
    """

    initial_delay: float = 5
    factor: float = 2
    max_delay: float = 60
    jitter: float = 1
    restart_delay: float = 5
    busy_delay: float = 30
    max_attempts: int | None = None
    reset_after: float = 10
    codes: Collection[int] = RECONNECTING_CODES
    keep_state: bool = False
    decide: Decide | None = None

    def __post_init__(self) -> None:
        for name in ("initial_delay", "max_delay", "restart_delay", "busy_delay", "reset_after"):
            _check_number(name, getattr(self, name), 0)
        _check_number("factor", self.factor, 1, MAX_FACTOR)
        _check_number("jitter", self.jitter, 0, 1)
        if self.max_attempts is not None:
            check_count("max_attempts", self.max_attempts, "a positive integer or None")
        object.__setattr__(self, "codes", _checked_codes(self.codes))
        check_flag("keep_state", self.keep_state)
        if self.decide is not None:
            if not callable(self.decide):
                raise OptionError("decide", self.decide, "a function of an Outage, or None")
            check_function("decide", self.decide, "an Outage")

    def allows(self, cause: object, attempts: int) -> bool:
        """Whether to connect again, if nobody decides otherwise.

        That is so after what may not happen again, unless somebody meant it to be the end.

        Args:
            cause: of the outage, see :class:`Outage`.
            attempts: in a row, this one included.
        """
        if self.max_attempts is not None and attempts > self.max_attempts:
            return False
        match cause:
            case Normal():
                return any(cause is reason for reason in _COMING_BACK)
            case Remote(code=code):
                return code in self.codes
            case Error(cause=error):
                return isinstance(error, (ConnectionLost, WriteTimeout))
            case UpgradeRejected(response=response) | ProxyFailed(response=HandshakeResponse() as response):
                return _is_passing(response.status)
        return isinstance(cause, (Timeout, ConnectFailed))

    def delay_after(self, cause: object, attempts: int) -> float:
        """Seconds to wait before connecting again; chance has its share in it.

        Args:
            cause: of the outage, see :class:`Outage`.
            attempts: in a row, this one included.

        Source: RFC 6455 §7.2.3: truncated exponential backoff.
        """
        backoff = self._left_to_chance(self._longest_delay(attempts))
        if isinstance(cause, Remote) and cause.code == CloseCode.SERVICE_RESTART and attempts == 1:
            return self._left_to_chance(self.restart_delay)
        if isinstance(cause, Remote) and cause.code == CloseCode.TRY_AGAIN_LATER:
            return self.busy_delay + max(backoff, self._left_to_chance(self.busy_delay))
        if isinstance(cause, (UpgradeRejected, ProxyFailed)) and cause.response is not None:
            return read_retry_after(cause.response, datetime.now(UTC)) + backoff
        return backoff

    def _longest_delay(self, attempts: int) -> float:
        try:
            growth = float(self.factor) ** (attempts - 1)
        except OverflowError:
            growth = sys.float_info.max
        return min(self.initial_delay * growth, self.max_delay)

    def _left_to_chance(self, delay: float) -> float:
        return delay * (1 - self.jitter * random.random())


def _is_passing(status: int) -> bool:
    return status in _PASSING_STATUSES or (500 <= status <= 599 and status not in _LASTING_STATUSES)


def read_retry_after(response: HandshakeResponse, now: datetime) -> float:
    """The seconds that a server asks to be spared for, at most a day; 0 if it does not say.

    Source: RFC 9110 §10.2.3.
    """
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        return min(float(value[:20]), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return 0.0
    if moment.tzinfo is None:  # "-0000": UTC from a place that does not say where it is
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), MAX_RETRY_AFTER)


def _checked_codes(codes: Collection[int]) -> frozenset[int]:
    expected = f"a collection of close codes that a server may send: {SENDABLE}"
    try:
        checked = frozenset(codes)
    except TypeError:
        raise OptionError("codes", codes, expected) from None
    are_codes = all(isinstance(code, int) and is_sendable(code) for code in checked)
    if isinstance(codes, (str, bytes)) or not are_codes:  # an empty str is no collection of codes either
        raise OptionError("codes", codes, expected)
    return checked


def _check_number(name: str, value: object, least: float, most: float = float("inf")) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
        limits = f"from {least:g} to {most:g}" if most < float("inf") else f"of at least {least:g}"
        raise OptionError(name, value, f"a number {limits}")
