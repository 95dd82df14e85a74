"""Every option: its default, what it takes, and the words in which it refuses the rest."""

from __future__ import annotations

import enum
import functools
import math
import ssl
from collections.abc import Sequence
from dataclasses import FrozenInstanceError, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from trio_websock.errors import OptionError, describe
from trio_websock.options import (
    SERVER_NAMES,
    Deflate,
    Options,
    ServerOptions,
    check_defaults,
)

SECONDS = "a positive number of seconds (math.inf for no limit)"
BYTES_OR_NONE = "a positive number of bytes or None"
COUNT = "a positive integer"
COUNT_OR_NONE = "a positive integer or None"
BYTES = "a positive number of bytes"
FLAG = "True or False"
NO_ASGI = (
    "an ASGI application, called with (scope, receive, send), or None"
    " (it cannot be called; a handler or an application function is the first argument of serve)"
)

NO_SECONDS = [10**400, 0, 0.0, -0.0, -1, -math.inf, math.nan, True, False, "10", b"10", [10], 1j, Fraction(1, 2)]
NO_COUNTS = [0, -1, 1.0, 1024.5, math.inf, math.nan, True, False, "10", [10]]
NO_FLAGS = [None, 0, 1, "yes", "", [], ...]

CONNECTION_DEFAULTS = {
    "timeout": 60,
    "compress": False,
    "max_message_size": 1048576,
    "max_frame_size": None,
    "max_empty_fragments": 1024,
    "validate_utf8": True,
    "mailbox_size": 1024,
    "read_ahead_messages": 64,
    "read_ahead_size": 262144,
    "ping_interval": None,
    "ping_timeout": 20,
    "write_timeout": 30,
    "close_timeout": 10,
    "terminate_timeout": 10,
    "cancel_on_disconnect": False,
    "subprotocols": (),
    "require_subprotocol": False,
    "origins": "same",
}

# Name, what is allowed, values that are refused.
CONNECTION_REFUSALS: list[tuple[str, str, list[Any]]] = [
    ("timeout", SECONDS, [None, *NO_SECONDS]),
    ("compress", "True, False or Deflate(...)", [None, 0, 1, "deflate", {}, Deflate]),
    ("max_message_size", BYTES_OR_NONE, NO_COUNTS),
    ("max_frame_size", BYTES_OR_NONE, NO_COUNTS),
    ("max_empty_fragments", COUNT, [None, *NO_COUNTS]),
    ("validate_utf8", FLAG, NO_FLAGS),
    ("mailbox_size", COUNT, [None, *NO_COUNTS]),
    ("read_ahead_messages", COUNT, [None, *NO_COUNTS]),
    ("read_ahead_size", COUNT, [None, *NO_COUNTS]),
    ("ping_interval", SECONDS, NO_SECONDS),
    ("ping_timeout", SECONDS, [None, *NO_SECONDS]),
    ("write_timeout", SECONDS, [None, *NO_SECONDS]),
    ("close_timeout", SECONDS, [None, *NO_SECONDS]),
    ("terminate_timeout", SECONDS, [None, *NO_SECONDS]),
    ("cancel_on_disconnect", FLAG, NO_FLAGS),
    ("subprotocols", "a list of names", [None, "chat", b"chat", 5]),
    ("require_subprotocol", FLAG, NO_FLAGS),
    (
        "origins",
        '"same", "any", a list of origins or a function of the request',
        [None, "", "https://example.com", b"any", "Same", 5, True],
    ),
]

# The same, of a part of the value.
PART_REFUSALS: list[tuple[str, str, list[Any]]] = [
    (
        "subprotocols",
        "names made of HTTP token characters",
        ["", "a b", "a,b", 'a"b', "é", "a\r\nb", "a/b", None, b"chat"],
    ),
    (
        "origins",
        "origins like https://example.com or https://*.example.com",
        [
            "",
            "example.com",
            "null",
            "same",
            "*",
            "https://",
            "://example.com",
            "https:/example.com",
            "https://example.com/",
            "https://example.com/chat",
            "https://example.com?a",
            "https://user@example.com",
            "https://example.com ",
            "https://exa mple.com",
            "https://example.com\r\n",
            "https://example.com:",
            "https://example.com:port",
            "https://*",
            "https://*example.com",
            "https://www.*.com",
            "https://[::1",
            "https://bücher.example",
            None,
            5,
            b"https://example.com",
        ],
    ),
]

SERVER_DEFAULTS = {
    "host": "127.0.0.1",
    "port": None,
    "path": None,
    "listeners": (),
    "ssl_context": None,
    "backlog": None,
    "handshake_timeout": 10,
    "max_head_size": 65536,
    "max_body_size": 1048576,
    "max_connections": None,
    "max_connections_per_client": None,
    "grace": 15,
    "http": None,
}

SERVER_REFUSALS: list[tuple[str, str, list[Any]]] = [
    ("host", "a name or address, a list of them, or None", [5, b"localhost", ["::1", 5], {"::1"}, ..., [], (), b""]),
    ("port", "an integer from 0 to 65535", [-1, 65536, 80.0, "80", True, False]),
    ("listeners", "a list of listeners or listening sockets", [None, "fd://3", b"", 5, ...]),
    ("ssl_context", "an ssl.SSLContext or None", [True, "cert.pem", ssl.SSLContext]),
    ("backlog", COUNT_OR_NONE, NO_COUNTS),
    ("handshake_timeout", SECONDS, [None, *NO_SECONDS]),
    ("max_head_size", BYTES, [None, *NO_COUNTS]),
    ("max_body_size", BYTES, [None, *NO_COUNTS]),
    ("max_connections", COUNT_OR_NONE, NO_COUNTS),
    ("max_connections_per_client", COUNT_OR_NONE, NO_COUNTS),
    (
        "grace",
        "zero or more seconds (math.inf for no limit)",
        [None, 10**400, -1, -0.001, -math.inf, math.nan, True, False, "10"],
    ),
    ("http", NO_ASGI, ["site:app", 5, ()]),
]

DEFLATE_REFUSALS: list[tuple[str, str, list[Any]]] = [
    ("server_max_window_bits", "an integer from 9 to 15", [None, 8, 16, 12.0, "12", True]),
    ("client_max_window_bits", "an integer from 8 to 15", [None, 7, 16, 12.0, "12", True]),
    ("server_no_context_takeover", FLAG, NO_FLAGS),
    ("client_no_context_takeover", FLAG, NO_FLAGS),
    ("level", "an integer from -1 to 9", [None, -2, 10, 6.0, "6", True]),
    ("memory_level", "an integer from 1 to 9", [None, 0, 10, 5.0, "5", True]),
]

ACCEPTED: list[tuple[str, list[Any]]] = [
    ("timeout", [0.001, 1, 1.5, 10**9, math.inf]),
    ("compress", [True, False, Deflate()]),
    ("max_message_size", [None, 1, 2**63]),
    ("max_frame_size", [None, 1, 2**63]),
    ("max_empty_fragments", [1]),
    ("validate_utf8", [True, False]),
    ("mailbox_size", [1]),
    ("read_ahead_messages", [1]),
    ("read_ahead_size", [1]),
    ("ping_interval", [None, 0.5, math.inf]),
    ("ping_timeout", [0.5, math.inf]),
    ("write_timeout", [0.5, math.inf]),
    ("close_timeout", [0.5, math.inf]),
    ("terminate_timeout", [0.5, math.inf]),
    ("cancel_on_disconnect", [True, False]),
    ("require_subprotocol", [True, False]),
    (
        "origins",
        [
            "same",
            "any",
            (),
            ("https://example.com",),
            ("http://*.example.com:8080", "https://[::1]:8443"),
            ("app://obsidian.md", "HTTPS://EXAMPLE.com"),
            bool,
        ],
    ),
]

SERVER_ACCEPTED: list[tuple[str, list[Any]]] = [
    ("host", ["::1", "localhost", None, ["127.0.0.1", "::1"], ("localhost",)]),
    ("port", [None, 0, 1, 65535]),
    ("path", [None, "/run/chat.sock"]),
    ("ssl_context", [None, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)]),
    ("backlog", [None, 1, 128]),
    ("handshake_timeout", [0.5, math.inf]),
    ("max_head_size", [1]),
    ("max_body_size", [1]),
    ("max_connections", [None, 1]),
    ("max_connections_per_client", [None, 1]),
    ("grace", [0, 0.0, 0.5, math.inf]),
    ("http", [None, print]),
]


class Size(enum.IntEnum):
    SMALL = 512


def cases(table: Sequence[tuple[Any, ...]]) -> list[Any]:
    """One case for each value in the last column, named after the option and the value."""
    return [
        pytest.param(name, *middle, value, id=f"{name}={describe(value):.40}")
        for name, *middle, values in table
        for value in values
    ]


def server_options(**keywords: Any) -> ServerOptions:
    """Options of a server that has something to listen on."""
    return ServerOptions(**{"listeners": [...], **keywords})


def refusal_of(make: Any, name: str, value: Any) -> OptionError:
    with pytest.raises(OptionError) as caught:
        make(**{name: value})
    return caught.value


def test_the_table_knows_every_option_of_a_connection() -> None:
    names = [row[0] for row in CONNECTION_REFUSALS]
    assert names == list(CONNECTION_DEFAULTS) == [field.name for field in fields(Options)]


def test_the_table_knows_every_option_of_a_server() -> None:
    assert {row[0] for row in SERVER_REFUSALS} | {"path"} == set(SERVER_DEFAULTS) == SERVER_NAMES


def test_the_table_knows_every_setting_of_compression() -> None:
    assert [row[0] for row in DEFLATE_REFUSALS] == [field.name for field in fields(Deflate)]


@pytest.mark.parametrize("name", CONNECTION_DEFAULTS)
def test_the_default_of_a_connections_option(name: str) -> None:
    assert getattr(Options(), name) == CONNECTION_DEFAULTS[name]


@pytest.mark.parametrize("name", SERVER_DEFAULTS)
def test_the_default_of_a_servers_option(name: str) -> None:
    assert getattr(ServerOptions(port=None, path="/x"), name) == {**SERVER_DEFAULTS, "path": "/x"}[name]


@pytest.mark.parametrize(("name", "expected", "value"), cases(CONNECTION_REFUSALS))
def test_a_connections_option_refuses(name: str, expected: str, value: Any) -> None:
    assert str(refusal_of(Options, name, value)) == f"{name} must be {expected}, not {describe(value)}"


@pytest.mark.parametrize(("name", "expected", "value"), cases(PART_REFUSALS))
def test_one_bad_part_of_a_list_is_refused_by_name(name: str, expected: str, value: Any) -> None:
    good = {"subprotocols": "chat", "origins": "https://example.com"}[name]
    assert str(refusal_of(Options, name, [good, value])) == f"{name} must be {expected}, not {describe(value)}"


@pytest.mark.parametrize(("name", "expected", "value"), cases(SERVER_REFUSALS))
def test_a_servers_option_refuses(name: str, expected: str, value: Any) -> None:
    assert str(refusal_of(server_options, name, value)) == f"{name} must be {expected}, not {describe(value)}"


@pytest.mark.parametrize("value", ["", b"/run/chat.sock", 5, True])
def test_a_path_that_is_none_is_refused(value: Any) -> None:
    words = f"path must be the path of a Unix socket as a str or a PathLike, or None, not {value!r}"
    assert str(refusal_of(ServerOptions, "path", value)) == words


def test_a_path_may_be_a_path_object() -> None:
    assert ServerOptions(path=Path("/run/chat.sock")).path == "/run/chat.sock"


@pytest.mark.parametrize(("name", "expected", "value"), cases(DEFLATE_REFUSALS))
def test_a_setting_of_compression_refuses(name: str, expected: str, value: Any) -> None:
    assert str(refusal_of(Deflate, name, value)) == f"{name} must be {expected}, not {describe(value)}"


@pytest.mark.parametrize(("name", "value"), cases(ACCEPTED))
def test_a_connections_option_takes(name: str, value: Any) -> None:
    assert getattr(Options(**{name: value}), name) == value


@pytest.mark.parametrize(("name", "value"), cases(SERVER_ACCEPTED))
def test_a_servers_option_takes(name: str, value: Any) -> None:
    assert getattr(server_options(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "low", "high"), [("server_max_window_bits", 9, 15), ("client_max_window_bits", 8, 15)]
)
def test_window_bits_take_their_bounds(name: str, low: int, high: int) -> None:
    assert [getattr(Deflate(**{name: bits}), name) for bits in (low, high)] == [low, high]


@pytest.mark.parametrize(("name", "low", "high"), [("level", -1, 9), ("memory_level", 1, 9)])
def test_levels_take_their_bounds(name: str, low: int, high: int) -> None:
    assert [getattr(Deflate(**{name: level}), name) for level in (low, high)] == [low, high]


def test_the_defaults_of_compression_keep_memory_small() -> None:
    settings = Deflate()
    assert (settings.server_max_window_bits, settings.client_max_window_bits, settings.memory_level) == (12, 12, 5)


def test_an_int_enum_is_an_integer() -> None:
    assert Options(max_message_size=Size.SMALL).max_message_size == 512


@pytest.mark.parametrize(
    ("compress", "settings"),
    [(False, None), (True, Deflate()), (Deflate(level=9), Deflate(level=9))],
    ids=["off", "on", "with settings"],
)
def test_the_settings_of_compression(compress: bool | Deflate, settings: Deflate | None) -> None:
    assert Options(compress=compress).deflate == settings


def test_every_token_character_may_stand_in_a_subprotocol() -> None:
    name = "v1.chat!#$%&'*+-^_`|~XYZ"
    assert Options(subprotocols=[name]).subprotocols == (name,)


@pytest.mark.parametrize("option", ["subprotocols", "origins"])
def test_changing_a_list_after_it_was_given_changes_nothing(option: str) -> None:
    given = {"subprotocols": ["chat"], "origins": ["https://example.com"]}[option]
    options = Options(**{option: given})
    before = tuple(given)
    given.append("anything")
    assert getattr(options, option) == before


def test_changing_the_list_of_listeners_after_it_was_given_changes_nothing() -> None:
    given: list[Any] = [object()]
    options = ServerOptions(listeners=given)
    given.clear()
    assert len(options.listeners) == 1


def test_options_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Options().timeout = 5  # type: ignore[misc]  # what is tested


@pytest.mark.parametrize("make", [Options, ServerOptions, Deflate])
def test_options_have_no_positions(make: Any) -> None:
    with pytest.raises(TypeError):
        make(5)


def test_a_server_with_nothing_to_listen_on_is_refused() -> None:
    with pytest.raises(TypeError, match="needs a port, a path or listeners"):
        ServerOptions()


@pytest.mark.parametrize("entrance", [{"port": 0}, {"path": "/run/chat.sock"}, {"listeners": [object()]}])
def test_one_entrance_is_enough(entrance: Any) -> None:
    assert ServerOptions(**entrance)


async def decide_later(request: object) -> bool:
    return False


class DecidesLater:
    async def __call__(self, request: object) -> bool:
        return False


@pytest.mark.parametrize(
    "origins",
    [decide_later, functools.partial(decide_later), DecidesLater(), DecidesLater().__call__],
    ids=["function", "partial", "object", "method"],
)
def test_a_coroutine_function_as_origins_would_let_everybody_in(origins: Any) -> None:
    words = f"origins must be a plain function, which decides without waiting, not {describe(origins)}"
    assert str(refusal_of(Options, "origins", origins)) == words


@pytest.mark.parametrize("origins", [lambda: True, lambda request, origin: True])
def test_a_function_that_cannot_be_asked_about_a_request_is_refused(origins: Any) -> None:
    refused = refusal_of(Options, "origins", origins)
    assert str(refused).startswith("origins must be a function that can be called with a request alone (")


@pytest.mark.parametrize("origins", [lambda *args: True, "".startswith, functools.partial(lambda a, b: True, 1)])
def test_a_function_of_any_kind_may_be_asked_about_a_request(origins: Any) -> None:
    assert Options(origins=origins).origins is origins


def test_an_option_that_a_host_has_nothing_for_must_be_at_its_default() -> None:
    check_defaults(Options(timeout=5), ["compress"], "no codec here")
    with pytest.raises(OptionError, match="compress must be its default: no codec here, not True"):
        check_defaults(Options(compress=True), ["timeout", "compress"], "no codec here")
