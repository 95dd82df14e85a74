"""From a URL to an open WebSocket: TCP, TLS, Unix sockets, given streams, refusals and redirects, on our own server."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing

from trio_websock import (
    ConnectFailed,
    ConnectionClosed,
    HandshakeError,
    Ok,
    Push,
    Response,
    UpgradeRejected,
    open_websocket,
    serve,
    upgrade,
)


class Echo:
    def init(self, args):
        return Ok(args)

    def handle_in(self, message, args):
        return Push(message if message != "args" else f"{args}", args)


def app(request):
    """Upgrades, and tells what it was asked; refuses and redirects by path."""
    match request.path:
        case "/refuse":
            return Response(403, "not you", headers={"X-Why": "because"})
        case "/redirect" | "/here" | "/there":
            return Response(int(request.query.get("status", 302)), headers={"Location": request.query["to"]})
        case "/lost":
            return Response(302)
        case "/loop":
            return Response(307, headers={"Location": "/loop"})
    headers = request.headers
    told = {name: headers.get(name) for name in ("authorization", "cookie", "host", "proxy-authorization", "x-mine")}
    return upgrade(Echo, told, subprotocols=["b", "a"])


@pytest.fixture
async def server(nursery):
    return await nursery.start(partial(serve, app, port=0, compress=True))


@pytest.fixture
def url(server):
    return f"ws://127.0.0.1:{server.port}"


async def ask(url, message="args", **options):
    """What the echo says."""
    async with open_websocket(url, **options) as websocket:
        await websocket.send(message)
        return await websocket.receive()


async def test_a_name_or_address_and_a_port_are_enough(url):
    assert await ask(url, "hello") == "hello"


async def test_compression_is_agreed_on(url):
    async with open_websocket(url, compress=True) as websocket:
        assert "permessage-deflate" in websocket.response.headers["sec-websocket-extensions"]
        for _ in range(3):
            await websocket.send("x" * 100_000)
            assert await websocket.receive() == "x" * 100_000


async def test_the_server_chooses_the_subprotocol(url):
    async with open_websocket(url, subprotocols=["a", "b"]) as websocket:
        assert websocket.subprotocol == "b"


async def test_headers_are_sent(url):
    assert "'x-mine': 'yes'" in await ask(url, headers={"X-Mine": "yes"})


@pytest.mark.parametrize(
    ("userinfo", "authorization", "value"),
    [
        ("", ("me", "pw"), "Basic bWU6cHc="),
        ("", "token", "Bearer token"),
        ("me:pw@", None, "Basic bWU6cHc="),
        ("me:pw@", "token", "Bearer token"),
    ],
)
async def test_authorization_is_sent(url, userinfo, authorization, value):
    told = await ask(url.replace("//", f"//{userinfo}"), authorization=authorization)
    assert f"'authorization': '{value}'" in told


async def test_a_unix_socket_takes_the_place_of_host_and_port(nursery, tmp_path):
    path = tmp_path / "socket"
    await nursery.start(partial(serve, app, path=path))
    assert "'host': 'example.com'" in await ask("ws://example.com/", path=path)


async def test_a_given_socket_stream_is_used(server):
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    assert "'host': 'example.com'" in await ask("ws://example.com/", stream=stream)


async def test_a_message_over_the_limit_closes_with_1009(url):
    with pytest.raises(ConnectionClosed) as caught:
        await ask(url, "x" * 101, max_message_size=100)
    assert caught.value.code == 1009


# TLS


@pytest.fixture
async def tls_port(nursery, certified_localhost):
    return (await nursery.start(partial(serve, app, port=0, ssl_context=certified_localhost))).port


async def test_tls_with_a_name_that_is_certified(tls_port, trusting):
    assert await ask(f"wss://localhost:{tls_port}", "hello", ssl_context=trusting) == "hello"


async def test_tls_over_a_given_stream(tls_port, trusting):
    stream = await trio.open_tcp_stream("localhost", tls_port)
    assert await ask("wss://localhost/", "hello", ssl_context=trusting, stream=stream) == "hello"


async def test_another_name_than_the_certified_is_no_connection(tls_port, trusting):
    with pytest.raises(ConnectFailed, match="TLS"):
        await ask(f"wss://127.0.0.1:{tls_port}", ssl_context=trusting)


async def test_by_default_only_what_the_system_trusts_is_trusted(tls_port):
    with pytest.raises(ConnectFailed, match="TLS"):
        await ask(f"wss://localhost:{tls_port}")


async def test_plain_text_to_a_server_of_tls_is_an_error(tls_port):
    with pytest.raises((ConnectFailed, HandshakeError)):
        await ask(f"ws://localhost:{tls_port}")


async def test_tls_to_a_server_of_plain_text_is_no_connection(server):
    with pytest.raises(ConnectFailed):
        await ask(f"wss://127.0.0.1:{server.port}")


# Refusals


async def test_a_refusal_carries_the_response(url):
    with pytest.raises(UpgradeRejected) as caught:
        await ask(f"{url}/refuse")
    response = caught.value.response
    assert (response.status, response.body, response.headers["x-why"]) == (403, b"not you", "because")


async def test_where_nobody_listens_the_cause_is_told():
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(ConnectFailed) as caught:
        await ask(f"ws://127.0.0.1:{port}")
    assert isinstance(caught.value.__cause__, OSError)


async def test_why_there_is_no_connection_is_said():
    with pytest.raises(ConnectFailed, match=r"ws://127\.0\.0\.1:1/: Connection refused$"):
        await ask("ws://127.0.0.1:1")


async def test_an_error_tells_no_token():
    with pytest.raises(ConnectFailed) as caught:
        await ask("ws://127.0.0.1:1/?token=secret")
    assert "secret" not in str(caught.value)


async def test_a_name_that_does_not_exist_is_no_connection():
    with pytest.raises(ConnectFailed, match=r"ws://name\.invalid/: "):
        await ask("ws://name.invalid")


@pytest.mark.parametrize("host", ["x" * 70, ".h"])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_name_that_cannot_exist_is_no_connection(scheme, host):
    with pytest.raises(ConnectFailed):
        await ask(f"{scheme}://{host}")


async def test_a_name_that_no_certificate_can_have_is_no_connection(server):
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    with pytest.raises(ConnectFailed, match="TLS"):
        await ask(f"wss://{'x' * 70}", stream=stream)


async def test_a_path_without_a_socket_is_no_connection(tmp_path):
    path = tmp_path / "nothing"
    with pytest.raises(ConnectFailed, match=f"^no connection with ws://h/ at '{path}': No such file or directory$"):
        await ask("ws://h/", path=path)


async def test_a_path_where_nobody_answers_is_told(tmp_path, autojump_clock):
    path = str(tmp_path / "silent")
    with trio.socket.socket(trio.socket.AF_UNIX) as sock:
        await sock.bind(path)
        sock.listen()
        with pytest.raises(ConnectFailed, match=f"^no WebSocket with ws://h/ at '{path}' within 10 seconds$"):
            await ask("ws://h/", path=path)


async def open_a_number():
    return 5


@pytest.mark.parametrize("stream", [lambda: 5, open_a_number])
async def test_a_function_that_opens_no_stream_is_a_type_error(stream):
    with pytest.raises(TypeError, match=r"stream returned 5: expected to await a trio\.abc\.Stream"):
        await ask("ws://h/", stream=stream)


async def test_a_function_that_opens_a_stream_has_to_be_awaited():
    stream, _ = trio.testing.memory_stream_pair()
    with pytest.raises(TypeError, match=r"expected to await a trio\.abc\.Stream"):
        await ask("ws://h/", stream=lambda: stream)


# Redirects


@pytest.mark.parametrize("to", ["/", "http://localhost:{port}/", "ws://localhost:{port}/x"])
async def test_a_redirect_is_followed(url, server, to):
    assert await ask(f"{url}/redirect?to={to.format(port=server.port)}", "hello") == "hello"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_every_status_that_sends_elsewhere_is_followed(url, status):
    assert await ask(f"{url}/redirect?to=/&status={status}", "hello") == "hello"


@pytest.mark.parametrize("status", [300, 305, 309])
async def test_a_location_of_another_status_is_not_followed(url, status):
    with pytest.raises(UpgradeRejected, match=f"{status}"):
        await ask(f"{url}/redirect?to=/&status={status}")


async def test_a_redirect_from_tls_to_tls_is_followed(tls_port, trusting):
    assert await ask(f"wss://localhost:{tls_port}/redirect?to=/", "hello", ssl_context=trusting) == "hello"


SECRETS = {
    "authorization": "token",
    "headers": {"Cookie": "secret", "Proxy-Authorization": "Basic c2VjcmV0", "Host": "mine.example", "X-Mine": "yes"},
}


async def test_secrets_follow_to_the_same_origin(url):
    told = await ask(f"{url}/redirect?to=/", **SECRETS)
    assert "'authorization': 'Bearer token', 'cookie': 'secret', 'host': 'mine.example'" in told
    assert "'proxy-authorization': 'Basic c2VjcmV0'" in told


async def test_secrets_do_not_follow_to_another_origin_and_what_else_was_given_does(url, server):
    told = await ask(f"{url}/redirect?to=ws://localhost:{server.port}/", **SECRETS)
    assert f"'authorization': None, 'cookie': None, 'host': 'localhost:{server.port}'" in told
    assert "'proxy-authorization': None, 'x-mine': 'yes'" in told


async def test_secrets_among_the_headers_or_in_the_url_do_not_follow_either(url, server):
    to = f"{url}/redirect?to=ws://localhost:{server.port}/"
    assert "'authorization': None" in await ask(to, headers={"AUTHORIZATION": "Bearer token"})
    assert "'authorization': None" in await ask(to.replace("//", "//me:pw@", 1))


async def test_another_origin_cannot_send_secrets_back_to_where_it_likes(url, server):
    back = f"ws://localhost:{server.port}/there?to={url}/"
    assert "'authorization': None, 'cookie': None" in await ask(f"{url}/redirect?to={back}", **SECRETS)


async def test_whom_a_redirect_would_have_us_be_is_not_asked_for(url, server):
    told = await ask(f"{url}/redirect?to=ws://me:pw@localhost:{server.port}/")
    assert "'authorization': None" in told


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        ("/loop", {}, "307.*: max_redirects is 5"),
        ("/redirect?to=/", {"max_redirects": 0}, "302.*: max_redirects is 0"),
        ("/redirect?to=ftp://h/", {}, "no WebSocket"),
        ("/redirect?to=//[h/", {}, "no WebSocket"),
        ("/lost", {}, "expected a Location"),
    ],
)
async def test_a_redirect_that_is_not_followed_is_a_rejection(url, path, options, words):
    with pytest.raises(UpgradeRejected, match=words):
        await ask(url + path, **options)


async def test_over_a_given_stream_no_redirect_is_followed(server):
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    with pytest.raises(UpgradeRejected, match="stream"):
        await ask("ws://h/redirect?to=/", stream=stream)


async def test_over_a_given_path_no_redirect_is_followed(nursery, tmp_path):
    path = tmp_path / "socket"
    await nursery.start(partial(serve, app, path=path))
    with pytest.raises(UpgradeRejected, match="path"):
        await ask("ws://h/redirect?to=/", path=path)


async def test_a_redirect_does_not_lead_out_of_tls(tls_port, trusting, server):
    to = f"ws://127.0.0.1:{server.port}/"
    with pytest.raises(UpgradeRejected, match="plain text"):
        await ask(f"wss://localhost:{tls_port}/redirect?to={to}", ssl_context=trusting)


async def test_a_redirect_does_not_lead_out_of_tls_by_a_detour(tls_port, trusting, server):
    to = f"wss://localhost:{tls_port}/there?to=ws://127.0.0.1:{server.port}/"
    with pytest.raises(UpgradeRejected, match="plain text"):
        await ask(f"ws://127.0.0.1:{server.port}/redirect?to={to}", ssl_context=trusting)
