"""picows on asyncio: a callback per frame, in Cython; there is no task per connection."""

from __future__ import annotations

import asyncio

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from .tally import Tally


class Echoed(WSListener):  # type: ignore[misc, unused-ignore]  # where it is not installed
    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.is_text = isinstance(tally.message, str)
        self.type = WSMsgType.TEXT if self.is_text else WSMsgType.BINARY

    def on_ws_connected(self, transport: WSTransport) -> None:
        for _ in range(self.tally.depth):
            self.send(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == self.type:
            self.tally.check(frame.get_payload_as_utf8_text() if self.is_text else frame.get_payload_as_bytes())
            self.tally.echoes += 1
            self.send(transport)

    def send(self, transport: WSTransport) -> None:
        message = self.tally.message
        transport.send(self.type, message.encode() if isinstance(message, str) else message)


async def main() -> None:
    tally = Tally()
    clients = [await ws_connect(lambda: Echoed(tally), tally.url) for _ in range(tally.connections)]
    await asyncio.sleep(tally.warmup)
    tally.begin()
    await asyncio.sleep(tally.seconds)
    tally.end("picows", "aiofastnet")
    for transport, _ in clients:
        transport.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
