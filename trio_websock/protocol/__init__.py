"""RFC 6455 and RFC 7692 without I/O: bytes in, messages out, and the other way round.

``masking`` (one function) and ``frames`` (heads and close frames, without memory) are the ground; ``negotiation`` and
``deflate`` are the extension, what is agreed on and its streams; ``assembly`` makes messages of fragments and keeps
their limits; ``machine`` owns the state of one connection and is what a host drives. ``upgrade`` judges the HTTP
request that comes before all that.

What runs for every message, the mask (``masking``), the scan of a buffer for whole messages (``scanning``) and the
making of frames (``serializing``), has a compiled twin; ``twins`` chooses. ``COMPILED`` tells which are in use.
"""

from .twins import COMPILED

__all__ = ["COMPILED"]
