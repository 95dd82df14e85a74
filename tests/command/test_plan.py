"""Words of the command line, and what they ask for."""

from __future__ import annotations

import math
import ssl

import pytest
import trustme

from trio_websock import OptionError
from trio_websock.client.options import ClientKeywords
from trio_websock.command.plan import Unusable, make_plan

URL = "ws://me:secret@h/path"


def plan_for(*words, is_terminal=False):
    return make_plan([URL, *words], is_terminal)


OPTIONS = {
    ("--subprotocol", "a", "--subprotocol", "b"): ("subprotocols", ["a", "b"]),
    ("-H", "X-A:  b", "--header", "Y: c:d"): ("headers", [("X-A", "b"), ("Y", "c:d")]),
    ("--origin", "https://a.example"): ("headers", [("Origin", "https://a.example")]),
    ("--basic", "me:pa:ss"): ("authorization", ("me", "pa:ss")),
    ("--bearer", "token"): ("authorization", "token"),
    ("--unix", "/run/x"): ("path", "/run/x"),
    ("--compress",): ("compress", True),
    ("--ping-interval", "none"): ("ping_interval", None),
    ("--ping-interval", "2.5"): ("ping_interval", 2.5),
    ("--ping-timeout", "3"): ("ping_timeout", 3),
    ("--timeout", "7"): ("timeout", 7),
    ("--connect-timeout", "inf"): ("connect_timeout", math.inf),
    ("--close-timeout", "1"): ("close_timeout", 1),
    ("--max-message-size", "none"): ("max_message_size", None),
    ("--max-message-size", "17"): ("max_message_size", 17),
    ("--proxy", "http://p:1"): ("proxy", "http://p:1"),
    ("--no-proxy",): ("proxy", False),
    (): ("proxy", "environment"),
}


@pytest.mark.parametrize(("words", "option"), OPTIONS.items(), ids=[" ".join(words) or "nothing" for words in OPTIONS])
def test_words_become_options_of_the_connection(words, option):
    name, value = option
    assert plan_for(*words).options[name] == value


def test_what_is_not_said_keeps_its_default():
    assert set(plan_for().options) <= {"headers", "proxy", "ssl_context"} <= set(ClientKeywords.__annotations__)


def test_the_url_is_shown_without_its_password():
    assert plan_for().shown_url == "ws://h/path"


@pytest.mark.parametrize("option", ["--basic", "--bearer"])
def test_a_secret_may_come_from_a_file(tmp_path, option):
    (tmp_path / "secret").write_text("me:pass\nsecond line\n")
    expected = ("me", "pass") if option == "--basic" else "me:pass"
    assert plan_for(option, f"@{tmp_path / 'secret'}").options["authorization"] == expected


def test_a_secret_that_cannot_be_read_is_told():
    with pytest.raises(Unusable, match="/nowhere/secret: No such file"):
        plan_for("--bearer", "@/nowhere/secret")


# How long to wait


@pytest.mark.parametrize(
    ("words", "is_terminal", "seconds"),
    [
        ((), False, 1),
        ((), True, 0),
        (("-m", "x"), True, 1),
        (("--count", "2"), False, math.inf),
        (("--count", "2", "--wait", "3"), False, 3),
        (("--wait", "0"), False, 0),
        (("--wait", "inf"), True, math.inf),
    ],
)
def test_the_wait_depends_on_who_asks(words, is_terminal, seconds):
    assert plan_for(*words, is_terminal=is_terminal).wait == seconds


@pytest.mark.parametrize(
    ("words", "is_terminal", "is_interactive"),
    [
        ((), True, True),
        ((), False, False),
        (("-m", "x"), True, False),
        (("--json",), True, False),
        (("-v",), True, True),
    ],
)
def test_somebody_is_there_if_there_is_a_terminal_and_nothing_says_otherwise(words, is_terminal, is_interactive):
    assert plan_for(*words, is_terminal=is_terminal).is_interactive is is_interactive


# TLS


def test_without_a_word_the_library_decides_whom_to_trust():
    assert plan_for().options["ssl_context"] is None


def test_insecure_trusts_anybody():
    context = plan_for("--insecure").options["ssl_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


def test_a_file_of_authorities_takes_the_place_of_the_system_s(tmp_path):
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = plan_for("--cafile", str(tmp_path / "ca.pem")).options["ssl_context"]
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1


def test_a_certificate_of_ours_is_taken(tmp_path):
    trustme.CA().issue_cert("me").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "me.pem"))
    assert plan_for("--ssl-certfile", str(tmp_path / "me.pem")).options["ssl_context"] is not None


@pytest.mark.parametrize(
    "words", [("--cafile", "/nowhere"), ("--ssl-keyfile", "/nowhere"), ("--ssl-certfile", __file__)]
)
def test_a_certificate_that_cannot_be_used_is_told_with_its_file(words):
    with pytest.raises(Unusable, match=f"cannot use {words[1]}"):
        plan_for(*words)


# Wrong usage


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--timeout", "long"), "argument --timeout: expected a number of seconds, not 'long'"),
        (("--wait", "-1"), "argument --wait: expected seconds from 0 up, or inf, not '-1'"),
        (("--wait", "nan"), "argument --wait: expected seconds from 0 up"),
        (("--count", "0"), "argument --count: expected a number of messages from 1 up, not '0'"),
        (("-H", "nonsense"), "argument -H/--header: expected Name: value, not 'nonsense'"),
        (("--basic", "a:b", "--bearer", "c"), "not allowed with argument"),
        (("--unix", "/x", "--proxy", "http://p"), "not allowed with argument"),
    ],
)
def test_words_that_make_no_sense_are_told_by_their_option(words, complaint, capsys):
    with pytest.raises(SystemExit) as caught:
        plan_for(*words)
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [("--timeout", "0"), ("-H", "Upgrade: x"), ("--proxy", "ftp://p"), ("--subprotocol", "")]
)
def test_options_are_those_of_the_library(words):
    with pytest.raises(OptionError):
        plan_for(*words)


@pytest.mark.parametrize("url", ["http://h", "ws://h/#x", "ws://", "h"])
def test_what_is_no_websocket_is_refused(url):
    with pytest.raises(OptionError, match="url"):
        make_plan([url], is_terminal=False)


def test_the_help_tells_the_exit_statuses(capsys):
    with pytest.raises(SystemExit) as caught:
        make_plan(["--help"], is_terminal=False)
    assert caught.value.code == 0
    assert "exit status: 0 closed in good order" in capsys.readouterr().out
