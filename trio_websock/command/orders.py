"""What somebody types: a message, or an order that begins with a slash.

In: a line. Out: what is to be done, as a value. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, final

from ..messages import Binary

__all__ = ["HELP", "Close", "Note", "Order", "Refuse", "Send", "SendPing", "order_for"]

HELP = """\
a line is sent as a text message; but
/ping [TEXT]          sends a ping; its pong is shown with the time it took
/binary HEX           sends a binary message: /binary 00 ff 0a
/close [CODE [TEXT]]  closes (1000), as Ctrl-D and Ctrl-C do
/help                 shows this
//TEXT                sends a text message that begins with one slash"""


@final
@dataclass(frozen=True, slots=True)
class Send:
    """Send a message."""

    message: str | Binary


@final
@dataclass(frozen=True, slots=True)
class SendPing:
    """Send a ping; an empty payload stands for one that no other ping has."""

    payload: bytes


@final
@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection."""

    code: int = 1000
    text: str = ""


@final
@dataclass(frozen=True, slots=True)
class Note:
    """Tell whoever typed it, and go on."""

    text: str


@final
@dataclass(frozen=True, slots=True)
class Refuse:
    """What came cannot be sent: say why, and end with a status that says so."""

    text: str


Order: TypeAlias = Send | SendPing | Close | Note | Refuse


def order_for(line: str) -> Order:
    """What a typed line asks for."""
    if not line.startswith("/"):
        return Send(line)
    if line.startswith("//"):
        return Send(line[1:])
    word, _, rest = line[1:].partition(" ")
    rest = rest.strip()
    match word:
        case "ping":
            return SendPing(rest.encode())
        case "binary":
            return _binary(rest)
        case "close":
            return _close(rest)
        case "help":
            return Note(HELP)
    return Note(f"there is no /{word}; /help shows what there is, and //{word} sends /{word}")


def _binary(digits: str) -> Order:
    try:
        return Send(Binary(bytes.fromhex(digits)))
    except ValueError:
        return Note(f"{digits!r} are no pairs of hexadecimal digits: /binary 00 ff 0a")


def _close(words: str) -> Order:
    if not words:
        return Close()
    code, _, text = words.partition(" ")
    try:
        return Close(int(code), text.strip())
    except ValueError:
        return Note(f"{code!r} is no close code: /close 4000 text")
