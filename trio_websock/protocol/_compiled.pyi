from ..messages import Incoming

__all__ = ["apply_mask", "parse_messages"]

def apply_mask(data: bytes, key: bytes, /) -> bytes: ...
def parse_messages(
    buffer: bytes, position: int, masked: bool, longest: int, errors: str, batch: list[Incoming], most: int, /
) -> int: ...
