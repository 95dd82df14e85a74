"""Which proxy is meant: URLs of proxies, what the environment says, and that no password is told."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trio_websock import ClientOptions, OptionError
from trio_websock.client.address import parse_url
from trio_websock.client.proxy import Proxy, parse_proxy, proxy_for

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(monkeypatch):
    """Set the variables given, and no others that speak of proxies."""

    def set_only(**variables):
        for name in list(os.environ):
            if name.lower().endswith("_proxy"):
                monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_only


def found(url):
    proxy = proxy_for(parse_url(url), True)
    return None if proxy is None else proxy.url


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://p:3128", Proxy("http", "p", 3128)),
        ("http://p/", Proxy("http", "p", 80)),
        ("https://p", Proxy("https", "p", 443)),
        ("socks5://p", Proxy("socks5", "p", 1080)),
        ("socks5h://[::1]:1", Proxy("socks5h", "::1", 1)),
        ("http://me:p%40ss@p:1", Proxy("http", "p", 1, ("me", "p@ss"))),
        ("socks4a://me@p", Proxy("socks4a", "p", 1080, ("me", ""))),
    ],
)
def test_a_url_is_taken_apart(url, proxy):
    assert parse_proxy(url) == proxy


@pytest.mark.parametrize(
    "url",
    [
        "p:3128",
        "ftp://p",
        "http://",
        "http://p:0",
        "http://p:99999",
        "http://p/path",
        "http://p?q",
        "http://p#f",
        "http://[::1",
        "http://p p",
        "http://p\r\n",
        "http://ä",
        "socks5://me@p",
        "socks5://me:p%C3%A4ss@p",
        "socks5://me:" + "x" * 256 + "@p",
        7,
        b"http://p",
    ],
)
def test_what_is_no_proxy_is_refused_before_anything_is_opened(url):
    with pytest.raises(OptionError, match="proxy"):
        ClientOptions(proxy=url)


@pytest.mark.parametrize(
    "url",
    [
        "me:secret@p:1",
        "http://me:secret/2@p",
        "ftp://me:secret@p",
        "http://me:secret@p/x",
        "socks5://:secret@p",
        "http://me:secret@p:x",
    ],
)
def test_a_refusal_tells_no_password(url):
    with pytest.raises(OptionError) as caught:
        parse_proxy(url)
    assert "secret" not in f"{caught.value} {caught.value.value}"


def test_no_repr_tells_a_password():
    options = ClientOptions(proxy="http://me:secret@p", authorization=("me", "secret"))
    assert "secret" not in repr(options) + repr(parse_proxy("http://me:secret@p")) + repr(parse_url("ws://u:secret@h"))


def test_socks_without_its_library_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"pip install 'trio-websock\[proxy\]'"):
        parse_proxy("socks5://p")


def test_a_proxy_and_a_path_are_one_too_many():
    with pytest.raises(TypeError, match="not both"):
        ClientOptions(proxy="http://p", path="/tmp/x")


@pytest.mark.parametrize("given", [None, False])
def test_the_environment_is_not_asked_unless_that_is_wanted(environment, given):
    environment(ALL_PROXY="http://p:1")
    assert proxy_for(parse_url("ws://h"), given) is None


@pytest.mark.parametrize("given", [True, "environment"])
def test_the_environment_is_asked(environment, given):
    environment(ALL_PROXY="http://p:1")
    assert proxy_for(parse_url("ws://h"), given).url == "http://p:1"


# Most fitting first: each of these is looked for when those before it are not set.
ORDER = {
    "wss://h": ["wss_proxy", "socks_proxy", "https_proxy", "all_proxy"],
    "ws://h": ["ws_proxy", "socks_proxy", "https_proxy", "http_proxy", "all_proxy"],
}


@pytest.mark.parametrize(("url", "position"), [(url, at) for url, names in ORDER.items() for at in range(len(names))])
def test_the_most_fitting_variable_wins(environment, url, position):
    names = ORDER[url][position:]
    environment(
        **{name: f"http://p{at}:1" if "socks" not in name else f"socks5://p{at}:1" for at, name in enumerate(names)}
    )
    assert found(url) in ("http://p0:1", "socks5://p0:1")


def test_a_secure_server_is_never_reached_through_what_is_for_http(environment):
    environment(http_proxy="http://p:1")
    assert found("wss://h") is None


def test_no_variable_is_a_direct_connection(environment):
    environment()
    assert found("ws://h") is None


@pytest.mark.parametrize("excepted", ["h.example", ".example", "example", "*", "x, h.example", "h.example:8000"])
def test_no_proxy_excepts_a_host(environment, excepted):
    environment(ALL_PROXY="http://p:1", NO_PROXY=excepted)
    assert found("ws://h.example:8000") is None


def test_no_proxy_excepts_no_other_host(environment):
    environment(ALL_PROXY="http://p:1", NO_PROXY="h.example")
    assert found("ws://g.example") == "http://p:1"


def test_a_variable_without_a_scheme_means_http(environment):
    environment(HTTPS_PROXY="p:3128")
    assert found("wss://h") == "http://p:3128"


@pytest.mark.parametrize("value", ["p:1", "http://p:1", "socks5h://p:1"])
def test_a_socks_variable_means_socks(environment, value):
    environment(SOCKS_PROXY=value)
    assert found("wss://h") == "socks5h://p:1"


def test_a_variable_that_names_no_proxy_is_told(environment):
    environment(HTTPS_PROXY="ftp://me:secret@p")
    with pytest.raises(OptionError, match=r"^https_proxy of the environment must be .* not 'ftp://…@p'$"):
        found("wss://h")


def test_whoever_asks_for_no_environment_does_not_import_what_reads_it():
    code = "import sys, trio_websock; sys.exit('urllib.request' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
