"""What the words of ``connect`` ask for.

In: words of a command line. Out: a plan, checked as far as that goes without a connection. Opens nothing but the files
that are named.
"""

from __future__ import annotations

import argparse
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, final

from ..client.address import parse_url
from ..client.options import ClientKeywords, split_client_keywords
from ..client.proxy import ENVIRONMENT
from .numbers import number_type

__all__ = ["Plan", "Unusable", "make_plan"]

DEFAULT_WAIT = 1.0  # seconds a script waits for answers

_DESCRIPTION = """\
Connect to a WebSocket. On a terminal: type messages, see what comes; /help tells
what else can be typed, Ctrl-D closes. In a script: every -m, or else every line of
the standard input is sent; messages that come are written to the standard output."""

_EPILOG = """\
examples:
  python -m trio_websock connect ws://localhost:8000/chat
  python -m trio_websock connect wss://example.com -m hello --count 1
  tail -f log | python -m trio_websock connect wss://example.com --bearer @token --json

exit status: 0 closed in good order, 1 no connection or refused, 2 wrong usage, 3 closed
for a fault or lost, 4 fewer messages than --count or not all sent, 130 and 143 after
SIGINT and SIGTERM, 141 if nobody reads the output."""


class Unusable(Exception):
    """What the user asked for cannot be done; the text is for the user."""


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What to do.

    Args:
        url: as it was given.
        shown_url: the same without credentials.
        options: of ``open_websocket``.
        messages: those of ``-m``; ``None`` if there were none.
        count: messages after which it is enough.
        wait: seconds between the end of the input and the close.
        is_binary: whether to send binary messages.
        is_json: whether to tell every event as JSON.
        is_verbose: whether to tell more than messages.
        is_interactive: whether somebody sits at a terminal.
    """

    url: str
    shown_url: str
    options: ClientKeywords
    messages: list[str] | None
    count: int | None
    wait: float
    is_binary: bool
    is_json: bool
    is_verbose: bool
    is_interactive: bool


def make_plan(words: Sequence[str], is_terminal: bool) -> Plan:
    """Read the words behind ``connect``.

    Args:
        words: of the command line.
        is_terminal: whether input and output are one.

    Raises:
        SystemExit: with status 2 after a usage message, or 0 after the help.
        Unusable: a file cannot be read.
        OptionError: an option, or the URL, is not allowed.
    """
    given = vars(_parser().parse_args(words))
    told = {name: given.pop(name) for name in ("url", "messages", "count", "is_binary", "is_json", "is_verbose")}
    is_interactive = is_terminal and told["messages"] is None and not told["is_json"] and not told["is_binary"]
    wait = given.pop("wait")
    if wait is None:
        wait = 0 if is_interactive else float("inf") if told["count"] else DEFAULT_WAIT
    options = _options(given)
    split_client_keywords(options, ClientKeywords)
    shown = parse_url(told["url"]).url
    return Plan(**told, shown_url=shown, options=options, wait=wait, is_interactive=is_interactive)


def _options(given: dict[str, Any]) -> ClientKeywords:
    """The keywords of ``open_websocket``; what was not given keeps its default."""
    headers = given.pop("headers") or []
    if origin := given.pop("origin"):
        headers.append(("Origin", origin))
    options: dict[str, Any] = {"headers": headers, "proxy": ENVIRONMENT}
    if (basic := given.pop("basic")) is not None:
        user, _, password = _secret(basic).partition(":")
        options["authorization"] = (user, password)
    if (bearer := given.pop("bearer")) is not None:
        options["authorization"] = _secret(bearer)
    options["ssl_context"] = _ssl_context(*(given.pop(name) for name in ("insecure", "cafile", "certfile", "keyfile")))
    options |= {name: value for name, value in given.items() if value is not None}
    for name in _UNLIMITED & options.keys():
        options[name] = None if options[name] == float("inf") else options[name]
    return cast(ClientKeywords, options)


_UNLIMITED = frozenset({"max_message_size", "ping_interval"})


def _secret(text: str) -> str:
    """What was given, or the first line of the file that is named behind an @: command lines are seen by all."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text().partition("\n")[0]
    except (OSError, ValueError) as exc:
        raise Unusable(f"cannot read {text[1:]}: {getattr(exc, 'strerror', None) or exc}") from exc


def _ssl_context(
    insecure: bool, cafile: str | None, certfile: str | None, keyfile: str | None
) -> ssl.SSLContext | None:
    if not (insecure or cafile or certfile or keyfile):
        return None
    files = ", ".join(name for name in (cafile, certfile, keyfile) if name)
    try:
        context = ssl.create_default_context(cafile=cafile)
        if certfile or keyfile:
            # Without a password of ours OpenSSL would ask the terminal for one.
            context.load_cert_chain(certfile or "", keyfile, password="")
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        raise Unusable(f"cannot use {files}: {getattr(exc, 'strerror', None) or exc}") from exc
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


# Words.


_seconds = number_type(float, "a number of seconds")
_size = number_type(int, "a number of bytes")


def _wait(text: str) -> float:
    seconds = _seconds(text)
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"expected seconds from 0 up, or inf, not {text!r}")
    return seconds


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of messages from 1 up, not {text!r}")
    return int(text)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"expected Name: value, not {text!r}")
    return name.strip(), value.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trio_websock connect",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url", help="of the WebSocket: ws://… or wss://…")
    _add_messages(parser.add_argument_group("what is sent, and what is shown"))
    _add_request(parser.add_argument_group("the request"))
    _add_way(parser.add_argument_group("the way there"))
    _add_connection(parser.add_argument_group("the connection"))
    return parser


def _add_messages(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("-m", "--message", dest="messages", action="append", metavar="MESSAGE", help="send this; may be repeated")
    add("--binary", dest="is_binary", action="store_true", help="send binary messages instead of text")
    add("--json", dest="is_json", action="store_true", help="write every event as one line of JSON")
    add("-v", "--verbose", dest="is_verbose", action="store_true", help="tell on standard error what else happens")
    add("--count", type=_count, metavar="N", help="close once N messages have come, and the input has ended")
    wait = "close so long after the input's end; inf waits for the server (1; with --count inf)"
    add("--wait", type=_wait, metavar="SECONDS", help=wait)


def _add_request(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    header = "a further header of the request; may be repeated"
    add("-H", "--header", dest="headers", action="append", type=_header, metavar="'NAME: VALUE'", help=header)
    add("--subprotocol", dest="subprotocols", action="append", metavar="NAME", help="spoken here; most wanted first")
    add("--origin", metavar="ORIGIN", help="the page one comes from, such as https://example.com")
    secret = group.add_mutually_exclusive_group()
    secret.add_argument("--basic", metavar="USER:PASSWORD", help="Basic authorization; @FILE reads it from a file")
    secret.add_argument("--bearer", metavar="TOKEN", help="Bearer authorization; @FILE reads it from a file")


def _add_way(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--cafile", metavar="FILE", help="trust the certificates in it (those the system trusts)")
    add("--insecure", action="store_true", help="trust any certificate: whoever is in between can read along")
    add("--ssl-certfile", dest="certfile", metavar="FILE", help="our own certificate, for servers that want one")
    add("--ssl-keyfile", dest="keyfile", metavar="FILE", help="its private key, if that is in another file")
    add("--connect-timeout", type=_seconds, metavar="SECONDS", help="for everything up to the open WebSocket (10)")
    way = group.add_mutually_exclusive_group()
    way.add_argument("--unix", dest="path", metavar="PATH", help="a Unix socket, instead of the URL's host and port")
    way.add_argument("--proxy", metavar="URL", help="http://, https://, socks5:// or socks5h:// (the environment's)")
    way.add_argument("--no-proxy", dest="proxy", action="store_false", default=None, help="connect directly")


def _add_connection(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--compress", action="store_const", const=True, help="offer permessage-deflate (off)")
    add("--max-message-size", type=_size, metavar="BYTES", help="of one message (1048576)")
    add("--timeout", type=_seconds, metavar="SECONDS", help="without a byte from the server (none)")
    add("--ping-interval", type=_seconds, metavar="SECONDS", help="between keepalive pings (20)")
    add("--ping-timeout", type=_seconds, metavar="SECONDS", help="for an answer to one (20)")
    add("--close-timeout", type=_seconds, metavar="SECONDS", help="for the server to agree to the end (10)")
