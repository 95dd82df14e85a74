"""The places a handler can live in: each turns its own kind of connection into a ``Transport``."""
