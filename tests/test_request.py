"""A request as the application sees it: target, headers, query."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from trio_websock.request import Headers, Query, Request, authority_of


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        pytest.param("/", "/", [], id="root"),
        pytest.param("/chat", "/chat", [], id="path"),
        pytest.param("/chat/", "/chat/", [], id="trailing slash"),
        pytest.param("/chat?room=a", "/chat", [("room", "a")], id="query"),
        pytest.param("/chat?", "/chat", [], id="empty query"),
        pytest.param("/a?b=c?d=e", "/a", [("b", "c?d=e")], id="second question mark"),
        pytest.param("/caf%C3%A9%20au%20lait", "/café au lait", [], id="percent-encoded path"),
        pytest.param("/a+b", "/a+b", [], id="a plus in a path is a plus"),
        pytest.param("/a%3Fb?c", "/a?b", [("c", "")], id="encoded question mark"),
        pytest.param("/a%2Fb", "/a/b", [], id="encoded slash"),
        pytest.param("/%ff", "/\ufffd", [], id="encoded bytes that are not UTF-8"),
        pytest.param("/100%", "/100%", [], id="a percent sign alone"),
        pytest.param("//example.com/chat", "//example.com/chat", [], id="two slashes are no authority"),
        pytest.param("/?a=1&a=2&b=3", "/", [("a", "1"), ("a", "2"), ("b", "3")], id="repeated name"),
        pytest.param("/?a&b=&=c", "/", [("a", ""), ("b", ""), ("", "c")], id="blank names and values"),
        pytest.param("/?a=1&&b=2&", "/", [("a", "1"), ("b", "2")], id="empty pairs"),
        pytest.param("/?q=a+b%2Bc%26d", "/", [("q", "a b+c&d")], id="encoded query"),
        pytest.param("/?n%C3%A4me=%C3%A9", "/", [("näme", "é")], id="encoded name"),
        pytest.param("/?q=%ff", "/", [("q", "\ufffd")], id="query that is not UTF-8"),
        pytest.param("/?a;b", "/", [("a;b", "")], id="a semicolon separates nothing"),
        pytest.param("/?next=http://example.com/x", "/", [("next", "http://example.com/x")], id="URL in the query"),
        pytest.param("http://example.com/chat?a=1", "/chat", [("a", "1")], id="absolute form"),
        pytest.param("http://example.com", "/", [], id="absolute form without a path"),
        pytest.param("http://example.com?a=1", "/", [("a", "1")], id="absolute form without a path, with a query"),
        pytest.param("https://user@example.com:8443/a%20b", "/a b", [], id="absolute form with all of an authority"),
        pytest.param("ws://[::1]:80/chat", "/chat", [], id="absolute form with an IPv6 address"),
        pytest.param("http://example.com//a", "//a", [], id="absolute form with two slashes"),
        pytest.param("http://[::1/chat?a=1", "/chat", [("a", "1")], id="absolute form with half an IPv6 address"),
        pytest.param("http://[nonsense]:x/chat", "/chat", [], id="absolute form with nonsense for an authority"),
        pytest.param("http://a\u2100b/chat", "/chat", [], id="absolute form with what NFKC makes a slash of"),
        pytest.param("http:///chat", "/chat", [], id="absolute form without an authority"),
        pytest.param("?a=1", "/", [("a", "1")], id="a query alone"),
        pytest.param("", "/", [], id="nothing"),
        pytest.param("*", "*", [], id="asterisk form"),
    ],
)
def test_path_and_query_of_a_target(target: str, path: str, query: list[tuple[str, str]]) -> None:
    request = Request("GET", target)
    assert (request.path, list(request.query.pairs())) == (path, query)


def test_the_target_stays_as_it_came() -> None:
    request = Request("GET", "/a%2Fb?c=%20")
    assert (request.path, request.target) == ("/a/b", "/a%2Fb?c=%20")


@pytest.mark.parametrize("attribute", ["path", "query"])
def test_a_target_is_parsed_once(attribute: str) -> None:
    request = Request("GET", "/chat?room=a")
    assert getattr(request, attribute) is getattr(request, attribute)


def test_a_request_has_defaults_for_all_but_method_and_target() -> None:
    request = Request("GET", "/")
    assert (dict(request.headers), request.http_version, request.body) == ({}, "1.1", b"")
    assert (request.scheme, request.client) == ("http", None)


@pytest.mark.parametrize("given", [{"Cookie": "s=1"}, [("Cookie", "s=1")]])
def test_headers_given_as_an_application_gives_them_are_headers(given: Any) -> None:
    request = Request("GET", "/", given)
    assert (type(request.headers), request.headers.get("cookie")) == (Headers, "s=1")


def test_headers_that_are_headers_are_kept_as_they_are() -> None:
    headers = Headers({"Cookie": "s=1"})
    assert Request("GET", "/", headers).headers is headers


def test_a_request_with_something_replaced_keeps_the_rest() -> None:
    request = Request("GET", "/", {"Cookie": "s=1"}, client=("::1", 1))
    again = replace(request, method="PUT")
    assert (again.method, again.headers, again.client) == ("PUT", request.headers, ("::1", 1))


def test_requests_share_no_headers() -> None:
    assert Request("GET", "/").headers is not Request("GET", "/").headers


def test_a_request_is_itself_and_no_other() -> None:
    request = Request("GET", "/")
    assert {request: 1}[request] == 1
    assert request != Request("GET", "/")


def test_a_request_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Request("GET", "/").method = "POST"  # type: ignore[misc]  # what is tested


@pytest.mark.parametrize("name", ["Origin", "origin", "ORIGIN"])
def test_the_origin_is_found_in_any_case(name: str) -> None:
    assert Request("GET", "/", Headers([(name, "https://example.com")])).origin == "https://example.com"


def test_there_may_be_no_origin() -> None:
    assert Request("GET", "/").origin is None


@pytest.mark.parametrize(
    ("values", "offered"),
    [
        ([], []),
        (["chat"], ["chat"]),
        (["chat, superchat"], ["chat", "superchat"]),
        (["chat,superchat", "other"], ["chat", "superchat", "other"]),
        ([" chat\t,, ,superchat ,"], ["chat", "superchat"]),
        (["Chat, chat"], ["Chat", "chat"]),
    ],
)
def test_subprotocols_in_the_clients_order(values: list[str], offered: list[str]) -> None:
    headers = Headers([("Sec-WebSocket-Protocol", value) for value in values])
    assert Request("GET", "/", headers).subprotocols == offered


def test_names_in_a_query_are_case_sensitive() -> None:
    query = Query([("Room", "a"), ("room", "b")])
    assert (query["Room"], query["room"], len(query)) == ("a", "b", 2)


def test_a_name_in_a_query_may_have_several_values() -> None:
    query = Request("GET", "/?tag=a&tag=b").query
    assert (query["tag"], query.get_all("tag"), list(query)) == ("a", ["a", "b"], ["tag"])


class Counting(Query):
    __slots__ = ("folded",)
    folded: int

    def _fold(self, name: str) -> str:  # type: ignore[override]  # counts what the static one does
        self.folded += 1
        return name


@pytest.mark.parametrize("look", [dict, lambda query: list(query.items()), lambda query: {**query}])
def test_looking_at_every_value_is_not_quadratic_in_what_a_peer_sends(look: Any) -> None:
    query = Counting([(str(number), "") for number in range(500)])
    query.folded = 0
    look(query)
    assert query.folded <= 4 * 500


@pytest.mark.parametrize(
    ("host", "authority"), [("example.com", "example.com:80"), ("10.0.0.1", "10.0.0.1:80"), ("::1", "[::1]:80")]
)
def test_an_ipv6_address_stands_in_brackets_before_its_port(host: str, authority: str) -> None:
    assert authority_of(host, 80) == authority


def test_a_query_gives_each_name_its_own_values_before_and_behind_a_look_at_all_of_them() -> None:
    query = Request("GET", "/?room=1&tag=a&tag=b").query
    before = (query["tag"], query.get_all("tag"), query.get_all("room"))
    assert list(query) == ["room", "tag"]
    assert before == (query["tag"], query.get_all("tag"), query.get_all("room")) == ("a", ["a", "b"], ["1"])
