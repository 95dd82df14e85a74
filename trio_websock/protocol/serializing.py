"""Serializing: everything that waits to be sent, as few large pieces of bytes.

In: frames, as opcode and payload or as bytes that have been made before. Out: the same in order, in chunks for the
system call: small frames lie side by side in one, and what is large, or alone and made before, is not copied.
One function is the whole face, so that a compiled twin can take its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from .frames import FIN, SMALL_HEADS, serialize_head
from .masking import apply_mask

__all__ = ["CHUNK_SIZE", "Frame", "serialize_frames"]

CHUNK_SIZE = 64 * 1024  # bytes up to which frames are copied together: cheaper than more buffers for a system call

Frame: TypeAlias = tuple[int, bytes] | bytes
"""The opcode (with RSV1 where it is compressed) and the payload of a whole frame; or bytes of one made before."""


def serialize_frames(frames: Sequence[Frame], keys: bytes | None, /) -> list[bytes]:
    """The bytes of ``frames``, in chunks.

    Args:
        frames: a list; each is whole: FIN is set for it.
        keys: ``None`` for a server; for a client four octets for each of ``frames``, to mask its payload with. Bytes
            that have been made before stay as they are.

    Raises:
        ValueError: there is not one key for each frame.

    Source: RFC 6455 §5.2 and §5.3.
    """
    if keys is not None and len(keys) != 4 * len(frames):
        raise ValueError(f"keys of {len(keys)} bytes came: expected {4 * len(frames)}")
    chunks: list[bytes] = []
    pieces: list[bytes] = []  # of the next chunk
    size = 0
    for index, frame in enumerate(frames):
        if isinstance(frame, bytes):
            head, payload = b"", frame
        elif keys is None:
            first, payload = frame
            length, heads = len(payload), SMALL_HEADS.get(FIN | first, ())
            head = heads[length] if length < len(heads) else serialize_head(FIN | first, length)
        else:
            first, payload = frame
            key = keys[4 * index : 4 * index + 4]
            head, payload = b"", serialize_head(FIN | first, len(payload), key) + apply_mask(payload, key)
        if size + len(head) + len(payload) > CHUNK_SIZE:
            _join(pieces, chunks)
            size = 0
        if len(payload) > CHUNK_SIZE:
            chunks += (head, payload) if head else (payload,)
        else:
            pieces += (head, payload) if head else (payload,)
            size += len(head) + len(payload)
    _join(pieces, chunks)
    return chunks


def _join(pieces: list[bytes], chunks: list[bytes]) -> None:
    if pieces:
        chunks.append(b"".join(pieces))
        pieces.clear()
