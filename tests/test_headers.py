"""Names with one or more values each."""

from __future__ import annotations

from typing import Any

import pytest

from trio_websock.headers import Headers, forget_index, trusted_headers, values_by_name

COOKIES = [("Set-Cookie", "a=1"), ("X-Other", "x"), ("set-cookie", "b=2")]


@pytest.mark.parametrize("name", ["Set-Cookie", "set-cookie", "SET-COOKIE"])
def test_headers_are_found_in_any_case_and_repetition_is_kept(name: str) -> None:
    headers = Headers(COOKIES)
    assert (headers[name], headers.get_all(name), name in headers) == ("a=1", ["a=1", "b=2"], True)


def test_headers_are_equal_if_every_value_of_every_name_is() -> None:
    assert Headers([("A", "1"), ("b", "2"), ("a", "3")]) == Headers([("B", "2"), ("a", "1"), ("A", "3")])
    assert Headers([("a", "1"), ("a", "2")]) != Headers([("a", "1")])
    assert Headers([("a", "1"), ("a", "2")]) != Headers([("a", "2"), ("a", "1")])


def test_headers_equal_a_mapping_that_tells_all_of_them() -> None:
    assert Headers([("A", "1")]) == {"a": "1"}
    assert Headers([("a", "1"), ("a", "2")]) != {"a": "1"}
    assert Headers() != ()


def test_headers_keep_their_spelling_and_order() -> None:
    assert Headers(COOKIES).pairs() == tuple(COOKIES)


def test_iterating_over_headers_gives_each_name_once_in_lower_case() -> None:
    headers = Headers(COOKIES)
    assert (list(headers), len(headers)) == (["set-cookie", "x-other"], 2)


def test_as_a_mapping_headers_have_the_first_value_of_each_name() -> None:
    assert dict(Headers(COOKIES)) == {"set-cookie": "a=1", "x-other": "x"}


@pytest.mark.parametrize(
    "given",
    [{"A": "1", "b": "2"}, [("A", "1"), ("b", "2")], iter([("A", "1"), ("b", "2")]), Headers({"A": "1", "b": "2"})],
)
def test_headers_are_made_of_a_mapping_or_of_pairs(given: Any) -> None:
    assert dict(Headers(given)) == {"a": "1", "b": "2"}


def test_a_header_that_is_not_there() -> None:
    headers = Headers(COOKIES)
    assert (headers.get("x-none"), headers.get_all("x-none"), "x-none" in headers) == (None, [], False)
    with pytest.raises(KeyError, match="x-none"):
        headers["x-none"]


@pytest.mark.parametrize("given", ["A: secret", b"A: secret", 5, None])
def test_what_has_no_pairs_makes_no_headers(given: Any) -> None:
    with pytest.raises(TypeError, match=f"^expected a mapping or pairs .*, not {type(given).__name__}$"):
        Headers(given)


@pytest.mark.parametrize("given", [["A: secret"], ["Ab"], [b"Ab"], [("A", "secret", "c")], [("A",)], [5]])
def test_a_header_that_is_no_pair_is_refused_without_its_value(given: Any) -> None:
    with pytest.raises(
        TypeError, match=f"a header must be a name and a value, both str, not {type(given[0]).__name__}"
    ):
        Headers(given)


def test_headers_show_their_pairs() -> None:
    assert repr(Headers([("A", "1")])) == "Headers([('A', '1')])"


@pytest.mark.parametrize(
    ("values", "tokens"),
    [
        ([], []),
        (["upgrade"], ["upgrade"]),
        (["keep-alive, Upgrade"], ["keep-alive", "Upgrade"]),
        (["keep-alive", "Upgrade"], ["keep-alive", "Upgrade"]),
        ([" a\t, b ,,\t"], ["a", "b"]),
        ([""], []),
        (["a b, c"], ["a b", "c"]),
    ],
)
def test_the_elements_of_a_list_header(values: list[str], tokens: list[str]) -> None:
    assert Headers([("Connection", value) for value in values]).tokens("connection") == tokens


def test_headers_made_of_headers_keep_spelling_and_repetition() -> None:
    assert Headers(Headers(COOKIES)).pairs() == tuple(COOKIES)


@pytest.mark.parametrize("pair", [("X-A", 5), ("X-A", b"1"), (b"X-A", "1"), ("X-A", None), ("X-A", ["1"])])
@pytest.mark.parametrize("shape", [lambda pair: [pair], lambda pair: dict([pair])], ids=["pairs", "mapping"])
def test_a_header_that_is_not_str_is_refused(shape: Any, pair: Any) -> None:
    with pytest.raises(TypeError) as caught:
        Headers(shape(pair))
    kinds = " and ".join(type(part).__name__ for part in pair)
    assert str(caught.value) == f"a header must be a name and a value, both str, not {kinds}"


def test_a_name_is_found_before_and_after_all_were_looked_at() -> None:
    headers = Headers(COOKIES)
    before = headers["Set-Cookie"]
    assert (len(headers), headers["SET-COOKIE"], headers.get("x-none")) == (2, before, None)


def test_headers_answer_the_same_with_and_without_the_index_of_the_parser() -> None:
    pairs = [("Cookie", "a=1"), ("cookie", "b=2"), ("Host", "x")]
    headers = trusted_headers(pairs, {"cookie": ["a=1", "b=2"], "host": ["x"]})
    names = ("COOKIE", "Host", "Origin")
    before = [headers.get_all(name) for name in names], values_by_name(headers)
    forget_index(headers)
    assert before == ([headers.get_all(name) for name in names], values_by_name(headers))
    assert before[0] == [["a=1", "b=2"], ["x"], []]
