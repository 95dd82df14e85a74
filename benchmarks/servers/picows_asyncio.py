"""picows on asyncio: a callback per frame, in Cython; there is no task per connection, and it does not compress."""

from __future__ import annotations

import asyncio

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from .startup import HOST, TICK, announce, delays, parse_settings

members: set[WSTransport] = set()


class Echo(WSListener):  # type: ignore[misc, unused-ignore]  # where it is not installed
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            self.answer(transport, frame)

    def answer(self, transport: WSTransport, frame: WSFrame) -> None:
        transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class Member(Echo):
    def on_ws_connected(self, transport: WSTransport) -> None:
        members.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        members.discard(transport)

    def answer(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_memoryview()
        for member in members:
            member.send(frame.msg_type, payload)


class Ticker(Echo):
    def on_ws_connected(self, transport: WSTransport) -> None:
        self.task = asyncio.create_task(self.tick(transport))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.task.cancel()

    async def tick(self, transport: WSTransport) -> None:
        for delay in delays():
            await asyncio.sleep(delay)
            transport.send(WSMsgType.TEXT, TICK.encode())


async def main() -> None:
    settings = parse_settings()
    listener = {"echo": Echo, "fan": Member, "ticks": Ticker}[settings.mode]
    server = await ws_create_server(lambda request: listener(), HOST, 0, ssl=settings.ssl_context())
    announce(server.sockets[0].getsockname()[1], "picows", "aiofastnet")
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
