"""One small client for each peer, written the way its documentation suggests.

Each is a process of its own, in an environment of its own: it may import :mod:`benchmarks.clients.tally` and its
library, and nothing else of this house.
"""
