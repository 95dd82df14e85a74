"""Our own server: listeners, HTTP/1.1 up to the 101, and ``serve``."""
