"""The choice between twins: the hot pieces of the codec, compiled where that was possible.

In: what was built with the package, and the environment. Out: :func:`apply_mask`, :func:`parse_messages` and
:func:`serialize_frames`, whose pure twins in ``masking``, ``scanning`` and ``serializing`` are the ones to read; the
compiled ones do the same with the same errors. Knows nothing of what they do.
"""

from __future__ import annotations

import os

__all__ = ["COMPILED", "apply_mask", "parse_messages", "serialize_frames"]

try:
    if os.environ.get("TRIO_WEBSOCK_NO_EXTENSIONS", "0") not in ("", "0"):
        raise ImportError("TRIO_WEBSOCK_NO_EXTENSIONS is set")
    from ._compiled import apply_mask, parse_messages, serialize_frames
except ImportError:
    from .masking import apply_mask
    from .scanning import parse_messages
    from .serializing import serialize_frames

# Whether the compiled twins are in use.
COMPILED = apply_mask.__module__ == f"{__package__}._compiled"
