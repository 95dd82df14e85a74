"""RFC 6455 §4.2: the opening handshake, judged."""

from __future__ import annotations

import pytest

from trio_websock.errors import UpgradeRefused
from trio_websock.protocol.upgrade import (
    accept_key,
    check_origin,
    check_upgrade_request,
    is_upgrade,
    negotiate_subprotocol,
)
from trio_websock.request import Headers, Request

GOOD = {
    "Host": ["example.com"],
    "Connection": ["Upgrade"],
    "Upgrade": ["websocket"],
    "Sec-WebSocket-Version": ["13"],
    "Sec-WebSocket-Key": ["dGhlIHNhbXBsZSBub25jZQ=="],
}


def request(method: str = "GET", http_version: str = "1.1", **headers: list[str]) -> Request:
    """A good request with some headers replaced; ``connection=[]`` leaves one out."""
    changed = {name.replace("_", "-"): values for name, values in headers.items()}
    merged = {name.lower(): values for name, values in GOOD.items()} | changed
    pairs = [(name, value) for name, values in merged.items() for value in values]
    return Request(method, "/", Headers(pairs), http_version)


def refusal(asked: Request) -> UpgradeRefused:
    with pytest.raises(UpgradeRefused) as caught:
        check_upgrade_request(asked)
    return caught.value


# Each fault alone: what is changed, the status, and words of the reason.
FAULTS = {
    "HTTP/1.0": ({"http_version": "1.0"}, 400, "HTTP/1.0 came: a WebSocket needs HTTP/1.1"),
    "HTTP/2": ({"http_version": "2"}, 505, "HTTP/2 came"),
    "HTTP/1.2": ({"http_version": "1.2"}, 505, "HTTP/1.2 came"),
    "a POST": ({"method": "POST"}, 400, "method POST came: a WebSocket needs GET"),
    "a lower-case method": ({"method": "get"}, 400, "method get came"),
    "no Host": ({"host": []}, 400, "no Host header came: expected exactly one"),
    "two Hosts": ({"host": ["a", "a"]}, 400, "2 Host headers came: expected exactly one"),
    "an empty Host": ({"host": [""]}, 400, "Host '' came"),
    "a Host with a path": ({"host": ["a/b"]}, 400, "Host 'a/b' came"),
    "a Host with a wordy port": ({"host": ["a:b"]}, 400, "Host 'a:b' came"),
    "a list of Hosts": ({"host": ["a, b"]}, 400, "Host 'a, b' came"),
    "no Connection": ({"connection": []}, 426, "no Connection header came: only WebSocket is served here"),
    "another Connection": ({"connection": ["keep-alive"]}, 426, "Connection: keep-alive came"),
    "part of a Connection token": ({"connection": ["upgrades"]}, 426, "Connection: upgrades came"),
    "no Upgrade": ({"upgrade": []}, 426, "no Upgrade header came"),
    "another Upgrade": ({"upgrade": ["h2c"]}, 426, "Upgrade: h2c came"),
    "no version": ({"sec_websocket_version": []}, 426, "no Sec-WebSocket-Version header came: expected 13"),
    "version 8": ({"sec_websocket_version": ["8"]}, 426, "Sec-WebSocket-Version: 8 came: expected 13"),
    "a list of versions": ({"sec_websocket_version": ["13, 8"]}, 426, "13, 8 came"),
    "two versions": ({"sec_websocket_version": ["13", "13"]}, 400, "2 Sec-WebSocket-Version headers came"),
    "no key": ({"sec_websocket_key": []}, 400, "no Sec-WebSocket-Key header came"),
    "two keys": ({"sec_websocket_key": GOOD["Sec-WebSocket-Key"] * 2}, 400, "2 Sec-WebSocket-Key headers came"),
    "a key that is not base64": ({"sec_websocket_key": ["not base64!"]}, 400, "that is not base64 came"),
    "a key with bad padding": ({"sec_websocket_key": ["AAAAA"]}, 400, "that is not base64 came"),
    "a key that is not ASCII": ({"sec_websocket_key": ["ä" * 24]}, 400, "that is not base64 came"),
    "a short key": ({"sec_websocket_key": ["AAAAAAAAAAAAAAAAAAAA"]}, 400, "of 15 bytes came: expected 16"),
    "an empty key": ({"sec_websocket_key": [""]}, 400, "of 0 bytes came"),
}

# The faults in the order in which they are looked for: of any two the earlier one is answered.
ORDER = [
    ({"http_version": "1.0"}, "HTTP/1.0"),
    ({"method": "POST"}, "method"),
    ({"host": []}, "Host"),
    ({"connection": []}, "Connection"),
    ({"upgrade": []}, "no Upgrade"),
    ({"sec_websocket_version": []}, "Version"),
    ({"sec_websocket_key": []}, "Key"),
]


class TestRequest:
    def test_the_example_of_the_rfc_is_accepted(self) -> None:
        assert check_upgrade_request(request()) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

    def test_the_accept_value_belongs_to_the_key(self) -> None:
        assert accept_key("x3JJHMbDL1EzLkh9GBhXDw==") == "HSmrc0sMlYUkAGmm5OPpG2HaGWk="

    @pytest.mark.parametrize(
        "changes",
        [
            {"connection": ["keep-alive, UPGRADE"]},
            {"connection": ["keep-alive", "upgrade"]},
            {"upgrade": ["WebSocket"]},
            {"upgrade": ["h2c, websocket"]},
            {"host": ["[::1]:8000"]},
            {"host": ["EXAMPLE.com:"]},
            {"sec_websocket_version": [" 13 "]},
        ],
    )
    def test_headers_are_read_as_http_writes_them(self, changes: dict[str, list[str]]) -> None:
        assert check_upgrade_request(request(**changes))

    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_fault_is_answered_with_its_status_and_named(self, fault: str) -> None:
        changes, status, words = FAULTS[fault]
        refused = refusal(request(**changes))
        assert refused.status == status
        assert words in refused.reason

    @pytest.mark.parametrize("later", range(1, len(ORDER)))
    def test_of_two_faults_the_earlier_is_answered(self, later: int) -> None:
        earlier, words = ORDER[later - 1]
        assert words in refusal(request(**earlier, **ORDER[later][0])).reason

    @pytest.mark.parametrize("header", ["connection", "upgrade"])
    def test_a_request_for_something_else_is_told_to_upgrade(self, header: str) -> None:
        assert refusal(request(**{header: []})).headers == {"connection": "upgrade", "upgrade": "websocket"}

    def test_another_version_is_told_ours(self) -> None:
        assert refusal(request(sec_websocket_version=["7"])).headers["Sec-WebSocket-Version"] == "13"

    def test_a_plain_fault_has_no_headers_of_its_own(self) -> None:
        assert refusal(request(method="PUT")).headers == {}


class TestIsUpgrade:
    def test_a_handshake_is_one(self) -> None:
        assert is_upgrade(request())

    def test_a_faulty_handshake_is_one_still(self) -> None:
        assert is_upgrade(request(sec_websocket_key=[]))

    @pytest.mark.parametrize("header", ["connection", "upgrade"])
    def test_a_plain_request_is_none(self, header: str) -> None:
        assert not is_upgrade(request(**{header: []}))


class TestSubprotocol:
    def test_the_first_of_the_servers_list_is_chosen(self) -> None:
        asked = request(sec_websocket_protocol=["a, b", "c"])
        assert negotiate_subprotocol(asked, ["x", "c", "a"], required=True) == "c"

    def test_none_in_common_is_none(self) -> None:
        assert negotiate_subprotocol(request(sec_websocket_protocol=["a"]), ["b"], required=False) is None

    def test_names_are_compared_exactly(self) -> None:
        assert negotiate_subprotocol(request(sec_websocket_protocol=["A"]), ["a"], required=False) is None

    @pytest.mark.parametrize(("offered", "came"), [(["a"], "subprotocols a came"), ([], "no subprotocol came")])
    def test_a_required_one_is_refused_by_name(self, offered: list[str], came: str) -> None:
        with pytest.raises(UpgradeRefused, match=f"{came}: expected one of b, c") as caught:
            negotiate_subprotocol(request(sec_websocket_protocol=offered), ["b", "c"], required=True)
        assert caught.value.status == 400

    @pytest.mark.parametrize("offered", [["a"], []])
    def test_one_that_is_required_where_none_is_spoken_is_told_as_such(self, offered: list[str]) -> None:
        with pytest.raises(UpgradeRefused, match=r"came: one is required, but this server speaks none \(RFC") as caught:
            negotiate_subprotocol(request(sec_websocket_protocol=offered), (), required=True)
        assert caught.value.status == 400


# Host, Origin, and whether they are the same.
SAME = [
    ("example.com", "http://example.com", True),
    ("example.com", "https://example.com", True),  # TLS may end at a proxy
    ("Example.com", "https://EXAMPLE.COM", True),
    ("example.com:443", "https://example.com", True),
    ("example.com", "https://example.com:443", True),
    ("example.com:80", "http://example.com", True),
    ("example.com:", "http://example.com:80", True),
    ("localhost:8000", "http://localhost:8000", True),
    ("[::1]:8000", "http://[::1]:8000", True),
    ("example.com:80", "https://example.com", False),
    ("example.com", "http://example.com:8000", False),
    ("example.com:8000", "http://example.com", False),
    ("example.com", "http://www.example.com", False),
    ("example.com", "http://example.com.evil.org", False),
    ("example.com", "http://example.com@evil.org", False),
    ("example.com", "null", False),
    ("example.com", "", False),
    ("example.com", "example.com", False),
    ("example.com", "http://example.com/", False),
    ("example.com", "http://example.com http://evil.org", False),
    ("not a host", "http://example.com", False),
    ("example.com", "ext://example.com", True),  # without a default port on either side
    ("example.com:1", "ext://example.com", False),
]

# An entry of the list, an Origin, and whether it may connect.
LISTED = [
    ("https://example.com", "https://example.com", True),
    ("https://Example.com:443", "HTTPS://example.COM", True),
    ("https://example.com", "http://example.com", False),
    ("https://example.com", "https://example.com:8443", False),
    ("https://example.com:8443", "https://example.com:8443", True),
    ("https://example.com", "https://www.example.com", False),
    ("https://*.example.com", "https://www.example.com", True),
    ("https://*.example.com", "https://a.b.Example.com", True),
    ("https://*.example.com", "https://example.com", False),
    ("https://*.example.com", "https://.example.com", False),
    ("https://*.example.com", "https://evilexample.com", False),
    ("https://*.example.com", "https://example.com.evil.org", False),
    ("https://*.example.com", "http://www.example.com", False),
    ("https://*.example.com", "null", False),
    ("not an origin", "https://example.com", False),
]


def is_allowed(asked: Request, origins: object) -> bool:
    try:
        check_origin(asked, origins)
    except UpgradeRefused as refused:
        return refused.status != 403
    return True


async def deny() -> bool:
    return False


class TestOrigin:
    @pytest.mark.parametrize("origins", ["same", "any", [], ["https://a"], lambda asked: False])
    def test_a_request_without_an_origin_is_always_allowed(self, origins: object) -> None:
        check_origin(request(), origins)

    @pytest.mark.parametrize(("host", "origin", "same"), SAME)
    def test_same_is_the_host_and_port_of_the_host_header(self, host: str, origin: str, same: bool) -> None:
        assert is_allowed(request(host=[host], origin=[origin]), "same") is same

    @pytest.mark.parametrize(("entry", "origin", "allowed"), LISTED)
    def test_a_list_holds_origins_and_wildcards(self, entry: str, origin: str, allowed: bool) -> None:
        assert is_allowed(request(origin=[origin]), ["https://first.org", entry]) is allowed

    @pytest.mark.parametrize("origin", ["null", "https://anywhere", "nonsense"])
    def test_any_allows_every_origin(self, origin: str) -> None:
        assert is_allowed(request(origin=[origin]), "any")

    @pytest.mark.parametrize("verdict", [True, False])
    def test_a_function_of_the_request_decides(self, verdict: bool) -> None:
        asked = request(origin=["https://example.org"])
        assert is_allowed(asked, lambda given: given is asked and verdict) is verdict

    @pytest.mark.parametrize("verdict", [None, "yes", 1, object()])
    def test_what_is_no_verdict_lets_nobody_in_and_is_told(self, verdict: object) -> None:
        with pytest.raises(TypeError, match=r"the function given as origins returned .*: expected True or False"):
            check_origin(request(origin=["https://evil.org"]), lambda asked: verdict)

    def test_a_verdict_that_nobody_awaits_is_told_as_such(self) -> None:
        with pytest.raises(TypeError, match=r"returned <coroutine object deny .*True or False \(is an await missing\?"):
            check_origin(request(origin=["https://evil.org"]), lambda asked: deny())

    @pytest.mark.parametrize(
        ("origins", "expected"),
        [
            ("same", "that of the Host, example.com"),
            (["https://a", "https://b"], "one of https://a, https://b"),
            (lambda asked: False, "one that the application allows"),
        ],
    )
    def test_the_reason_names_what_came_and_what_was_expected(self, origins: object, expected: str) -> None:
        with pytest.raises(UpgradeRefused, match=f"Origin 'https://evil.org' came: expected {expected}"):
            check_origin(request(origin=["https://evil.org"]), origins)

    def test_two_origins_are_a_malformed_request(self) -> None:
        with pytest.raises(UpgradeRefused, match="2 Origin headers came") as caught:
            check_origin(request(origin=["https://a", "https://a"]), "any")
        assert caught.value.status == 400
