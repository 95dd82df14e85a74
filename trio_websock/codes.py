"""The numbers of RFC 6455: opcodes and close codes, and which of them may travel.

Leaf of the house: knows nothing else of it.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["SENDABLE", "CloseCode", "Opcode", "is_sendable"]


class Opcode(IntEnum):
    """What a frame carries.

    Source: RFC 6455 §5.2.
    """

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """The registered close codes that may travel in a close frame.

    Source: RFC 6455 §7.4.1 and the IANA registry (1012 to 1014).
    """

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014


_REGISTERED = frozenset(CloseCode)
SENDABLE = "1000-1003, 1007-1014 and 3000-4999"  # what is_sendable lets pass, for the texts of errors


def is_sendable(code: int) -> bool:
    """Whether ``code`` may stand in a close frame, in either direction.

    1004, 1005, 1006 and 1015 are reserved for use inside an API; below 1000 and from 5000 up nothing is
    defined; 3000 to 4999 belong to libraries and applications.

    Source: RFC 6455 §7.4.
    """
    return code in _REGISTERED or 3000 <= code <= 4999
