"""What permessage-deflate costs and saves, by level and by kind of message: the codec alone, no connection.

::

    python -m benchmarks.compression

Prints one table. A column is one set of parameters, as negotiated; a cell has the share of the bytes that is left, and
the CPU µs that one message took. Each kind is a sequence of different messages in one connection, always the same one.
"""

from __future__ import annotations

import argparse
import json
import random
import string
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeAlias

from trio_websock import Deflate
from trio_websock.protocol.deflate import PerMessageDeflate
from trio_websock.protocol.frames import Role
from trio_websock.protocol.negotiation import DeflateParameters

__all__ = ["KINDS", "PARAMETERS", "main", "measure"]

Make: TypeAlias = Callable[[random.Random], str]

_WORDS = random.Random(7)
WORDS = ["".join(_WORDS.choices(string.ascii_lowercase, k=_WORDS.randint(2, 9))) for _ in range(800)]


def make_trade(rng: random.Random) -> str:
    trade: dict[str, Any] = {"type": "trade", "symbol": rng.choice(("BTC-USD", "ETH-USD", "SOL-USD"))}
    trade |= {"price": f"{rng.random() * 1e5:.2f}", "size": f"{rng.random():.8f}", "id": rng.randrange(10**9)}
    return json.dumps(trade | {"side": rng.choice(("buy", "sell")), "at": 1_700_000_000_000 + rng.randrange(10**9)})


def make_chat(rng: random.Random) -> str:
    text = " ".join(rng.choices(WORDS, k=rng.randint(3, 25)))
    return json.dumps({"event": "message", "room": "lobby", "user": rng.choice(WORDS), "text": text})


def make_patch(rng: random.Random) -> str:
    rows = (
        f'<li class="row" id="row-{rng.randrange(10**6)}"><a href="/users/{rng.choice(WORDS)}">{rng.choice(WORDS)}</a>'
        f'<span class="count">{rng.randrange(100)}</span></li>'
        for _ in range(20)
    )
    return f"<ul>{''.join(rows)}</ul>"


def make_records(rng: random.Random) -> str:
    return json.dumps(
        [
            {
                "id": rng.randrange(10**6),
                "name": " ".join(rng.choices(WORDS, k=3)),
                "active": rng.random() < 0.5,
                "score": rng.randrange(10_000) / 100,
            }
            for _ in range(60)
        ]
    )


KINDS: dict[str, Make] = {
    "trade": make_trade,
    "chat": make_chat,
    "patch of a page": make_patch,
    "records": make_records,
}


def parameters(**changes: Any) -> DeflateParameters:
    """Our defaults, but for ``changes``."""
    return DeflateParameters(**asdict(Deflate(**changes)))


PARAMETERS = {
    f"level {Deflate().level}, the default": parameters(),
    "level 3": parameters(level=3),
    "level 6, as zlib's default": parameters(level=6),
    "level 9": parameters(level=9),
    "level 6, window 15, memory 8": parameters(level=6, server_max_window_bits=15, memory_level=8),
    "no context takeover": parameters(server_no_context_takeover=True),
}


def measure(messages: list[bytes], parameters: DeflateParameters) -> tuple[float, float]:
    """The share of the bytes that is left, and CPU µs per message; of seven runs the fastest."""
    times = []
    for _ in range(7):
        deflate = PerMessageDeflate(parameters, Role.SERVER)
        begin = time.process_time()
        size = sum(len(deflate.compress(message)) for message in messages)
        times.append(time.process_time() - begin)
    return size / sum(map(len, messages)), min(times) / len(messages) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000, help="of each kind (default: %(default)s)")
    count = parser.parse_args().messages
    print("| message | " + " | ".join(PARAMETERS) + " |")
    print("| --- |" + " ---: |" * len(PARAMETERS))
    for name, make in KINDS.items():
        rng = random.Random(1)
        messages = [make(rng).encode() for _ in range(count)]
        measured = (measure(messages, parameters) for parameters in PARAMETERS.values())
        cells = " | ".join(f"{share:.0%}, {cost:.1f} µs" for share, cost in measured)
        print(f"| {name}, {sum(map(len, messages)) // count:,} B | {cells} |")


if __name__ == "__main__":
    main()
