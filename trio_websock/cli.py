"""The command: ``python -m trio_websock module:Handler --port 8000``, or ``python -m trio_websock connect URL``.

In: words of a command line. Out: a running server, or one line that says what is wrong and exit status 2. Every
option is one of ``serve``; nothing can be done here that a program could not do. What ``connect`` does is in
``command/``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import logging
import os
import ssl
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, cast, final

from .application import bind_application
from .behaviour.handler import is_handler
from .command import connect_main
from .command.numbers import number_type
from .errors import OptionError, StartupFailed
from .options import Options, ServerKeywords, split_keywords
from .protocol import COMPILED
from .request import authority_of
from .server import Server
from .server.running import run_announced

__all__ = ["main"]

DEFAULT_PORT = 8000

BAD_USAGE = 2  # exit status, as argparse has it
INTERRUPTED = 130  # exit status of a program that SIGINT ended, as shells have it

_DESCRIPTION = """\
Serve a WebSocket handler, or an application function, until SIGINT or SIGTERM.
The first signal lets every connection finish (for at most --grace seconds),
the second ends them at once."""

_EPILOG = """\
examples:
  python -m trio_websock chat:Room --port 8000
  python -m trio_websock chat:app --host 0.0.0.0 --ssl-certfile c.pem --ssl-keyfile k.pem
  python -m trio_websock chat:Room --http site:app      (an ASGI application for plain requests)
  python -m trio_websock echo --uds /run/echo.sock      (the module itself is the handler)

python -m trio_websock connect ws://localhost:8000 is the other end: see connect --help.

Seconds may be fractions; where no limit is possible, "none" or "inf" says so.
Modules are searched in the current directory first."""


@final
class _Unusable(Exception):
    """What the user asked for cannot be done; the text is for the user."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the words behind the program's name; ``None`` takes this process's.

    Returns:
        The exit status: 0 after a graceful stop, 2 if there was nothing to run; for ``connect`` see docs/command.md.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["connect"] and not _is_module_connect(words[1:]):
        return connect_main(words[1:])
    return _serve(words)


def _is_module_connect(words: Sequence[str]) -> bool:
    """Whether a module of that name is to be served, as it was before there was a client."""
    if any(word.lower().startswith(("ws://", "wss://")) for word in words):
        return False
    _search_here()
    return importlib.util.find_spec("connect") is not None


def _search_here() -> None:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def _serve(words: Sequence[str]) -> int:
    given = vars(_parser().parse_args(words))
    logging.basicConfig(level=given.pop("log_level").upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        # Whatever a module raises while it is imported is its own fault, and its traceback says where.
        target = load_target(given.pop("target"))
        if given["http"] is not None:
            given["http"] = _load(given["http"])
        return _run(target, given)
    except _Unusable as exc:
        return _complain(str(exc))
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(target: object, given: dict[str, Any]) -> int:
    announcement = _Announcement()
    try:
        run_announced(target, announcement, _keywords(given))
    except (OptionError, StartupFailed) as exc:
        return _complain(str(exc))
    except OSError as exc:
        if announcement.is_made:
            raise
        return _complain(exc.strerror or str(exc))
    return 0


def _complain(text: str) -> int:
    print(f"trio_websock: {text}", file=sys.stderr)
    return BAD_USAGE


@final
class _Announcement:
    """Says where the server listens."""

    def __init__(self) -> None:
        self.is_made = False

    def __call__(self, server: Server) -> None:
        self.is_made = True
        # Nobody may be reading, or the disk may be full: no reason not to serve.
        with contextlib.suppress(OSError):
            for address in server.addresses:
                print(f"Listening on {_shown(address, server.scheme)}", file=sys.stderr, flush=True)


def _shown(address: tuple[str, int] | str, scheme: str) -> str:
    if isinstance(address, str):
        return f"unix:{address}"
    place = authority_of(*address)
    return f"{scheme}://{place} ({scheme.replace('http', 'ws')}://{place})"


# The target.


def load_target(text: str) -> object:
    """The handler or application function that ``module:attribute`` or ``module`` names."""
    target = _load(text)
    if not is_handler(target) and not callable(target):
        raise _Unusable(f"{text} is neither a handler nor a function: {target!r}")
    try:
        bind_application(target, Options(), lambda request, fault: None)
    except TypeError as exc:
        offers = f"; the module has {_offers(target)}" if isinstance(target, ModuleType) else ""
        raise _Unusable(f"{text}: {exc}{offers}") from exc
    return target


def _load(text: str) -> object:
    module_name, _, attribute = text.partition(":")
    if not module_name:
        raise _Unusable(f"{text!r} names no module: expected module:Handler, module:app or module")
    hint = _hint_for(module_name, text)
    if module_name.startswith(".") or os.sep in module_name:
        raise _Unusable(f"{module_name!r} is not the name of a module{hint}")
    return _find(_import(module_name, hint), attribute)


def _hint_for(name: str, text: str) -> str:
    """What to write for a module that is named as a file is."""
    module = os.path.normpath(name.removesuffix(".py")).removeprefix(".").replace(os.sep, ".")
    is_hint = module != name and not module.startswith(".")
    return f" (write {module}{text.removeprefix(name)})" if is_hint else ""


def _import(name: str, hint: str) -> ModuleType:
    _search_here()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{name}.".startswith(f"{exc.name}."):
            raise  # found, but it imports something that is not: the traceback says where
        more = hint if exc.name == name else ""
        raise _Unusable(f"there is no module {exc.name!r} here or among the installed ones{more}") from exc


def _find(module: ModuleType, attribute: str) -> object:
    target: object = module
    for name in attribute.split(".") if attribute else ():
        if not hasattr(target, name):
            raise _Unusable(f"{module.__name__} has no {attribute!r}; it has {_offers(module)}")
        target = getattr(target, name)
    return target


def _offers(module: ModuleType) -> str:
    own = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
    return ", ".join(own) or "nothing that could be served"


# The options.


def _keywords(given: dict[str, Any]) -> ServerKeywords:
    """The keywords of ``serve`` for what was given; what was not given keeps its default."""
    keywords = {name: value for name, value in given.items() if value is not None}
    certfile, keyfile = keywords.pop("ssl_certfile", None), keywords.pop("ssl_keyfile", None)
    if certfile or keyfile:
        keywords["ssl_context"] = _load_certificate(certfile, keyfile)
    if "host" in keywords:
        keywords["host"] = None if "*" in keywords["host"] else keywords["host"]
    if "port" not in keywords and "path" not in keywords:
        keywords["port"] = DEFAULT_PORT
    if keywords.get("origins") in (["same"], ["any"]):
        keywords["origins"] = keywords["origins"][0]
    for name in _UNLIMITED & keywords.keys():
        keywords[name] = None if keywords[name] == float("inf") else keywords[name]
    checked = cast(ServerKeywords, keywords)
    split_keywords(checked)
    return checked


def _load_certificate(certfile: str | None, keyfile: str | None) -> ssl.SSLContext:
    if certfile is None:
        raise _Unusable("--ssl-keyfile needs --ssl-certfile")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a password of ours OpenSSL would ask the terminal for one.
        context.load_cert_chain(certfile, keyfile, password="")
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        files = certfile if keyfile is None else f"{certfile} and {keyfile}"
        # What OpenSSL says of a file without a key, or with an encrypted one, is "PEM lib".
        more = f"; expected {_CERTIFICATE}" if isinstance(exc, ssl.SSLError) else ""
        raise _Unusable(
            f"cannot use the certificate in {files}: {getattr(exc, 'strerror', None) or exc}{more}"
        ) from exc
    return context


_CERTIFICATE = "a certificate chain and its private key in PEM format, not encrypted"

# Options whose Python value for "no limit" is None.
_UNLIMITED = frozenset({"max_message_size", "ping_interval", "max_connections", "max_connections_per_client"})


_seconds = number_type(float, "a number of seconds")
_count = number_type(int, "a whole number")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trio_websock",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="module[:name]", help="handler or application function to serve")
    parser.add_argument("--version", action="version", version=f"trio_websock {_version()}")
    parser.add_argument("--http", metavar="module:app", help="ASGI application for all other requests (none)")
    levels = ("debug", "info", "warning", "error", "critical")
    parser.add_argument("--log-level", choices=levels, default="info", help="least severity that is logged (info)")
    _add_listening(parser.add_argument_group("where to listen"))
    _add_limits(parser.add_argument_group("limits of the server"))
    _add_connection(parser.add_argument_group("every connection (an application function may choose otherwise)"))
    return parser


def _add_listening(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--host", action="append", help="address or name, * for every interface, may be repeated (127.0.0.1)")
    add("--port", type=int, help="TCP port, 0 for one that is free (8000)")
    add("--uds", dest="path", metavar="PATH", help="path of a Unix socket, instead of a TCP port or beside it")
    add("--ssl-certfile", metavar="FILE", help="certificate chain in PEM format: serves TLS")
    add("--ssl-keyfile", metavar="FILE", help="its private key, if that is in another file; not encrypted")


def _add_limits(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--max-connections", type=_count, metavar="N", help="clients at one time, beyond it 503 (none)")
    add("--max-connections-per-client", type=_count, metavar="N", help="the same for each address (none)")
    add("--handshake-timeout", type=_seconds, metavar="SECONDS", help="for TLS and the head of a request (10)")
    add("--grace", type=_seconds, metavar="SECONDS", help="a graceful shutdown may take in all (15)")


def _add_connection(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--timeout", type=_seconds, metavar="SECONDS", help="without a byte from the client (60)")
    add("--compress", action="store_const", const=True, help="accept permessage-deflate (off)")
    add("--max-message-size", type=_count, metavar="BYTES", help="of one message (1048576)")
    add("--ping-interval", type=_seconds, metavar="SECONDS", help="between keepalive pings (none)")
    add("--ping-timeout", type=_seconds, metavar="SECONDS", help="for an answer to one (20)")
    add("--subprotocol", dest="subprotocols", action="append", metavar="NAME", help="spoken here; most wanted first")
    add("--origin", dest="origins", action="append", metavar="ORIGIN", help=_ORIGIN_HELP)


_ORIGIN_HELP = "who may connect from a browser: same, any, or https://example.com; may be repeated (same)"


def _version() -> str:
    twins = "compiled codec" if COMPILED else "pure Python codec"
    try:
        return f"{importlib.metadata.version('trio-websock')} ({twins})"
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return f"(not installed) ({twins})"
