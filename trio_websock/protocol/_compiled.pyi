from collections.abc import Callable, Sequence

from ..messages import Incoming
from .serializing import Frame

__all__ = ["apply_mask", "parse_messages", "serialize_frames"]

def apply_mask(data: bytes, key: bytes, /) -> bytes: ...
def parse_messages(
    buffer: bytes,
    position: int,
    masked: bool,
    longest: int,
    errors: str,
    inflate: Callable[[bytes, bool], Incoming] | None,
    batch: list[Incoming],
    most: int,
    /,
) -> int: ...
def serialize_frames(frames: Sequence[Frame], keys: bytes | None, /) -> list[bytes]: ...
