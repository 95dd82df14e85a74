"""Masking keys: four unpredictable bytes for every frame of a client.

In: nothing but the operating system's entropy. Out: keys, each given out once. A system call for each frame would
show in a profile, so the entropy is fetched for many frames at once.
"""

from __future__ import annotations

import os

__all__ = ["new_masking_keys"]

KEY_SIZE = 4  # bytes, RFC 6455 §5.2
_POOL_SIZE = 1024  # keys fetched at once

_pool: list[bytes] = []

# A child process would otherwise go on with the same keys as its parent.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.clear)


def new_masking_keys(count: int) -> bytes:
    """Fresh keys for ``count`` frames, one after the other, from a strong source of entropy.

    Source: RFC 6455 §5.3 and §10.3.
    """
    return _new_key() if count == 1 else os.urandom(KEY_SIZE * count)


def _new_key() -> bytes:
    try:
        return _pool.pop()  # in one step, so that two threads never get the same
    except IndexError:
        entropy = os.urandom(KEY_SIZE * _POOL_SIZE)
        _pool.extend(entropy[start : start + KEY_SIZE] for start in range(KEY_SIZE, len(entropy), KEY_SIZE))
        return entropy[:KEY_SIZE]
