"""Every example runs, as a process of its own, and does what its page or its docstring promises."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as websockets_connect

RunExample = Callable[..., AbstractContextManager[Any]]

EXAMPLES = sorted(path.stem for path in (Path(__file__).parents[2] / "examples").glob("*.py"))
SERVERS = sorted(set(EXAMPLES) - {"bot"})


def connect(url: str, **options: Any) -> Any:
    return websockets_connect(url, proxy=None, **options)


def receive(peer: Any) -> Any:
    return peer.recv(timeout=30)


def receive_json(peer: Any) -> Any:
    return json.loads(receive(peer))


def closed_with(peer: Any) -> tuple[int, str]:
    """Read up to the server's close: its code and text."""
    with suppress(ConnectionClosed):
        while True:
            receive(peer)
    return peer.close_code, peer.close_reason


def get(url: str, **headers: str) -> tuple[int, str, str]:
    """Status, content type and body of a plain request."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as response:
            return response.status, response.headers["content-type"], response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["content-type"], error.read().decode()


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_has_a_test_of_its_own(name: str) -> None:
    assert any(test.startswith(f"test_{name}_") for test in globals()), f"examples/{name}.py has no test here"


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_explains_itself(name: str) -> None:
    source = (Path(__file__).parents[2] / "examples" / f"{name}.py").read_text(encoding="utf-8")
    assert f"examples/{name}.py" in source.partition("from __future__")[0]


@pytest.mark.parametrize("name", SERVERS)
def test_every_example_ends_in_good_order_when_interrupted(run_example: RunExample, name: str) -> None:
    with run_example(name) as example:
        assert example.port != "0"
        assert example.interrupt() == (0, "Everybody has been told. Goodbye.\n")


@pytest.mark.parametrize("target", ["echo:Echo", "chat:app", "ticker:app", "app:app", "counter"])
def test_every_example_runs_by_the_command_too(run_python: RunExample, target: str) -> None:
    with run_python("-m", "trio_websock", target, "--port", "0") as example:
        assert example.port.isdecimal()
        assert example.interrupt() == (0, "")


def test_an_interrupt_tells_the_clients_of_an_example(run_example: RunExample) -> None:
    with run_example("chat") as example, connect(f"{example.ws_url}/room?name=Ada") as ada:
        receive_json(ada)
        example.interrupt()
        assert closed_with(ada) == (1001, "")


def test_echo_returns_text_as_text_and_binary_as_binary(run_example: RunExample) -> None:
    with run_example("echo") as example, connect(example.ws_url) as peer:
        for message in ("Grüße", b"\x00\xff", "", b""):
            peer.send(message)
            assert receive(peer) == message


def test_echo_compresses_for_who_wants_it(run_example: RunExample) -> None:
    with run_example("echo") as example, connect(example.ws_url) as peer:
        assert [extension.name for extension in peer.protocol.extensions] == ["permessage-deflate"]


def test_echo_prints_how_a_client_left(run_example: RunExample) -> None:
    with run_example("echo") as example:
        with connect(example.ws_url) as peer:
            peer.send("one")
            receive(peer)
        assert "closed with 1000 after 1 messages" in example.process.stdout.readline()


def test_chat_serves_its_page(run_example: RunExample) -> None:
    with run_example("chat") as example:
        status, content_type, page = get(example.url)
    assert (status, content_type) == (200, "text/html; charset=utf-8")
    assert "<title>Chat</title>" in page


def test_chat_tells_everybody_who_comes_speaks_and_leaves(run_example: RunExample) -> None:
    with run_example("chat") as example, connect(f"{example.ws_url}/room?name=Ada") as ada:
        assert receive_json(ada) == {"kind": "joined", "name": "Ada", "people": ["Ada"]}
        with connect(f"{example.ws_url}/room?name=Ben") as ben:
            joined = {"kind": "joined", "name": "Ben", "people": ["Ada", "Ben"]}
            assert receive_json(ada) == receive_json(ben) == joined
            ben.send("hello")
            assert receive_json(ada) == receive_json(ben) == {"kind": "said", "name": "Ben", "text": "hello"}
        assert receive_json(ada) == {"kind": "left", "name": "Ben", "people": ["Ada"]}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Ada", "Ada is already here: choose another name"),
        ("", "A name has 1 to 24 characters"),
        ("x" * 25, "A name has 1 to 24 characters"),
    ],
)
def test_chat_does_not_let_in_a_bad_name(run_example: RunExample, name: str, why: str) -> None:
    with run_example("chat") as example, connect(f"{example.ws_url}/room?name=Ada") as ada:
        receive_json(ada)
        with connect(f"{example.ws_url}/room?name={name}") as stranger:
            assert closed_with(stranger) == (4001, why)
        ada.send("still here")
        assert receive_json(ada)["text"] == "still here"


def test_chat_reads_only_text(run_example: RunExample) -> None:
    with run_example("chat") as example, connect(f"{example.ws_url}/room?name=Ada") as ada:
        ada.send(b"\x00")
        assert closed_with(ada) == (1003, "this room reads text")


def test_ticker_reports_a_walk_that_goes_on(run_example: RunExample) -> None:
    with run_example("ticker") as example, connect(f"{example.ws_url}/ticks") as peer:
        first, second = receive_json(peer), receive_json(peer)
    assert first["time"] < second["time"]
    assert first["value"] != second["value"]


def test_ticker_pauses_and_resumes(run_example: RunExample) -> None:
    with run_example("ticker") as example, connect(f"{example.ws_url}/ticks") as peer:
        peer.send("pause")
        peer.ping().wait(30)  # its pong comes after the pause has been heard, or with the last report before it
        peer.send("resume")
        assert receive_json(peer).keys() == {"time", "value"}
        peer.send("louder")
        assert closed_with(peer) == (1003, "expected pause or resume")


def test_app_serves_a_page_and_a_health_check(run_example: RunExample) -> None:
    with run_example("app") as example:
        assert "<title>Echo and watch</title>" in get(f"{example.url}/")[2]
        assert get(f"{example.url}/health") == (200, "application/json", '{"status": "ok", "watchers": 0}')
        assert get(f"{example.url}/elsewhere")[0] == 404


def test_app_shows_echoes_to_who_has_the_token(run_example: RunExample) -> None:
    with run_example("app", APP_TOKEN="sesame") as example:
        bearer = {"Authorization": "Bearer sesame"}
        with (
            connect(f"{example.ws_url}/watch", additional_headers=bearer) as by_header,
            connect(f"{example.ws_url}/watch?token=sesame") as by_query,
            connect(f"{example.ws_url}/echo?name=Ada") as ada,
        ):
            assert receive(by_header) == receive(by_query) == "watching"
            ada.send("hello")
            assert receive(ada) == "hello"
            assert receive(by_header) == receive(by_query) == "Ada: 'hello'"


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=%C3%BC"])
def test_app_refuses_watchers_without_the_token(run_example: RunExample, query: str) -> None:
    with run_example("app") as example, pytest.raises(InvalidStatus) as caught:
        connect(f"{example.ws_url}/watch{query}")
    assert caught.value.response.status_code == 401
    assert caught.value.response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("offered", "spoken", "one"),
    [
        (["counter.text"], "counter.text", "1"),
        (["counter.json"], "counter.json", '{"count": 1}'),
        (["counter.text", "counter.json"], "counter.json", '{"count": 1}'),
    ],
)
def test_counter_speaks_the_subprotocol_agreed_on(
    run_example: RunExample, offered: list[str], spoken: str, one: str
) -> None:
    with run_example("counter") as example, connect(example.ws_url, subprotocols=offered) as peer:
        assert peer.subprotocol == spoken
        peer.send("up")
        assert (receive(peer), receive(peer)) == (one.replace("1", "0"), one)


def test_counter_counts_up_and_down(run_example: RunExample) -> None:
    with run_example("counter") as example, connect(example.ws_url, subprotocols=["counter.text"]) as peer:
        for word in ("up", "up", "down", "reset", "down"):
            peer.send(word)
        assert [receive(peer) for _ in range(6)] == ["0", "1", "2", "1", "0", "-1"]
        peer.send("sideways")
        assert closed_with(peer) == (1003, "expected up, down or reset")


def test_counter_refuses_a_client_without_its_subprotocol(run_example: RunExample) -> None:
    with run_example("counter") as example, pytest.raises(InvalidStatus) as caught:
        connect(example.ws_url, subprotocols=["abacus"])
    assert caught.value.response.status_code == 400


def test_relay_serves_the_page_of_the_chat(run_example: RunExample) -> None:
    with run_example("relay") as relay:
        assert "<title>Chat</title>" in get(f"{relay.url}/")[2]


def test_relay_carries_messages_and_closes_both_ways(run_example: RunExample, run_python: RunExample) -> None:
    with (
        run_example("chat") as chat,
        run_python("relay.py", "--port", "0", "--upstream", chat.ws_url) as relay,
        connect(f"{chat.ws_url}/room?name=Ada") as ada,
    ):
        receive_json(ada)
        with connect(f"{relay.ws_url}/room?name=Ben") as ben:
            assert receive_json(ada) == receive_json(ben) == {"kind": "joined", "name": "Ben", "people": ["Ada", "Ben"]}
            ben.send("hello")
            assert receive_json(ada) == receive_json(ben) == {"kind": "said", "name": "Ben", "text": "hello"}
        assert receive_json(ada)["kind"] == "left"
        with connect(f"{relay.ws_url}/room?name=Ada") as stranger:
            assert closed_with(stranger) == (4001, "Ada is already here: choose another name")


def test_relay_tells_its_browsers_that_the_upstream_goes(run_example: RunExample, run_python: RunExample) -> None:
    with (
        run_example("chat") as chat,
        run_python("relay.py", "--port", "0", "--upstream", chat.ws_url) as relay,
        connect(f"{relay.ws_url}/room?name=Ada") as ada,
    ):
        receive_json(ada)
        chat.interrupt()
        assert closed_with(ada) == (1001, "")
        with connect(f"{relay.ws_url}/room?name=Ada") as late:
            assert closed_with(late) == (1014, "the upstream cannot be reached")


def heard_by_bot(peer: Any) -> str:
    """What the bot says next in the room."""
    while True:
        event = receive_json(peer)
        if event["kind"] == "said" and event["name"] == "bot":
            return str(event["text"])


def next_greeting(bot: Any) -> None:
    """Read what the bot prints up to the moment it is in the room again."""
    while bot.process.stdout.readline() != bot.greeting:
        pass


def test_bot_survives_the_restart_of_the_chat(run_example: RunExample, run_python: RunExample) -> None:
    with run_example("chat") as chat, run_python("bot.py", f"{chat.ws_url}/room?name=bot") as bot:
        room = f"{chat.ws_url}/room"
        assert bot.greeting == f"bot is in the room at 127.0.0.1:{chat.port}\n"
        with connect(f"{room}?name=Ada") as ada:
            assert heard_by_bot(ada) == "Welcome, Ada!"
            ada.send("one")
            ada.send("bot?")
            assert heard_by_bot(ada) == "Ada, I have heard 1 messages."
        chat.interrupt()
        assert bot.process.stdout.readline() == "bot is out of the room: Remote(code=1001, text='')\n"
        with run_example("chat", chat.port):
            next_greeting(bot)
            with connect(f"{room}?name=Ben") as ben:
                assert heard_by_bot(ben) == "Welcome, Ben!"
                ben.send("bot?")
                assert heard_by_bot(ben) == "Ben, I have heard 1 messages."
            status, printed = bot.interrupt()
    assert (status, printed.splitlines()[-1]) == (0, "The room has been told. Goodbye.")


def test_bot_tells_why_it_is_not_let_in(run_example: RunExample, run_python: RunExample) -> None:
    with run_example("chat") as chat, connect(f"{chat.ws_url}/room?name=bot") as namesake:
        receive_json(namesake)
        with run_python("bot.py", f"{chat.ws_url}/room?name=bot") as bot:
            assert bot.process.stdout.read().splitlines()[-1] == "bot is already here: choose another name"
            assert bot.process.wait(30) == 0
