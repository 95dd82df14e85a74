"""The handshake: what is asked, and which answers are good."""

from __future__ import annotations

import re

import pytest

from trio_websock import ClientOptions, Deflate, HandshakeError, HandshakeResponse, Headers, Options, UpgradeRejected
from trio_websock.client.address import parse_url
from trio_websock.client.handshake import authorize, check_response, new_request, serialize_request
from trio_websock.protocol.upgrade import accept_key, check_upgrade_request
from trio_websock.testing.checks.compression import BAD_OFFERS

EXTENSION = "permessage-deflate; server_max_window_bits"
ADDRESS = parse_url("ws://h:8000/chat?x")


def ask(client=None, authorization=None, **options):
    return new_request(ADDRESS, client or ClientOptions(), Options(**options), authorization)


def answer(request, status=101, **changes):
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": accept_key(request.headers["sec-websocket-key"]),
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return HandshakeResponse(status, headers=Headers({name: value for name, value in headers.items() if value}))


def test_our_own_server_takes_the_request():
    request = ask()
    assert check_upgrade_request(request) == accept_key(request.headers["sec-websocket-key"])


def test_each_request_has_a_key_of_its_own():
    assert ask().headers["sec-websocket-key"] != ask().headers["sec-websocket-key"]


def test_the_request_asks_for_path_and_query():
    lines = serialize_request(ask()).decode().split("\r\n")
    assert lines[:2] == ["GET /chat?x HTTP/1.1", "Host: h:8000"]
    assert lines[-2:] == ["", ""]


def test_further_headers_follow_and_may_be_repeated():
    request = ask(ClientOptions(headers=[("Cookie", "a"), ("Cookie", "b")]))
    assert request.headers.get_all("cookie") == ["a", "b"]


def test_the_host_may_be_replaced():
    assert ask(ClientOptions(headers={"Host": "other"})).headers.get_all("host") == ["other"]


def test_subprotocols_and_compression_are_offered():
    headers = ask(subprotocols=["a", "b"], compress=True).headers
    assert headers["sec-websocket-protocol"] == "a, b"
    assert headers["sec-websocket-extensions"].startswith("permessage-deflate")


def test_nothing_is_offered_by_default():
    assert {"sec-websocket-protocol", "sec-websocket-extensions", "authorization"} & set(ask().headers) == set()


@pytest.mark.parametrize(
    ("given", "value"),
    [(None, None), (("me", "p:ß"), "Basic bWU6cDrDnw=="), ("token", "Bearer token")],
)
def test_authorization_is_basic_or_bearer(given, value):
    assert authorize(given) == value


def test_a_good_answer_is_agreed_on():
    request = ask(subprotocols=["a", "b"], compress=True)
    agreement = check_response(
        request,
        answer(
            request, Sec_WebSocket_Protocol="b", Sec_WebSocket_Extensions="permessage-deflate; server_max_window_bits=9"
        ),
        Options(subprotocols=["a", "b"], compress=True),
    )
    assert agreement.subprotocol == "b"
    assert agreement.deflate is not None


@pytest.mark.parametrize("status", [200, 302, 401, 426, 500])
def test_another_status_is_a_rejection(status):
    request = ask()
    with pytest.raises(UpgradeRejected) as caught:
        check_response(request, answer(request, status), Options())
    assert caught.value.response.status == status


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Upgrade", None),
        ("Upgrade", "h2c"),
        ("Connection", None),
        ("Connection", "keep-alive"),
        ("Sec_WebSocket_Accept", None),
        ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("Sec_WebSocket_Protocol", "not-offered"),
        ("Sec_WebSocket_Extensions", "permessage-deflate"),
        ("Sec_WebSocket_Extensions", "x-unknown"),
    ],
)
def test_a_101_that_does_not_answer_is_refused(name, value):
    request = ask()
    with pytest.raises(HandshakeError) as caught:
        check_response(request, answer(request, **{name.replace("_", "-"): value}), Options())
    assert caught.value.response.status == 101


def test_parameters_that_do_not_answer_the_offer_are_refused():
    request = ask(compress=True)
    bad = answer(request, Sec_WebSocket_Extensions=f"{EXTENSION}=15")
    with pytest.raises(HandshakeError, match="server_max_window_bits"):
        check_response(request, bad, Options(compress=True))


ANY_WINDOW = Deflate(server_max_window_bits=15, client_max_window_bits=15)


@pytest.mark.parametrize("parameters", BAD_OFFERS.values(), ids=BAD_OFFERS)
def test_what_spoils_an_offer_spoils_an_answer(parameters):
    turned = re.sub("server|client", lambda side: {"server": "client", "client": "server"}[side[0]], parameters)
    request = ask(compress=ANY_WINDOW)
    bad = answer(request, Sec_WebSocket_Extensions=f"permessage-deflate; {turned}")
    with pytest.raises(HandshakeError, match="RFC 7692"):
        check_response(request, bad, Options(compress=ANY_WINDOW))


@pytest.mark.parametrize("parameters", ["", "; server_max_window_bits=8", "; client_no_context_takeover"])
def test_an_answer_may_say_what_was_not_asked_for(parameters):
    request = ask(compress=ANY_WINDOW)
    good = answer(request, Sec_WebSocket_Extensions=f"permessage-deflate{parameters}")
    assert check_response(request, good, Options(compress=ANY_WINDOW)).deflate is not None


def test_a_subprotocol_may_be_required():
    request = ask(subprotocols=["a"])
    with pytest.raises(HandshakeError, match="no subprotocol"):
        check_response(request, answer(request), Options(subprotocols=["a"], require_subprotocol=True))
