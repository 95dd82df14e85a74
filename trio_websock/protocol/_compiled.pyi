from .masking import apply_mask as apply_mask
from .scanning import parse_messages as parse_messages
from .serializing import serialize_frames as serialize_frames

__all__ = ["apply_mask", "parse_messages", "serialize_frames"]
