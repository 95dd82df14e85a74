"""The claims of the rulings, one module per chapter, each with its ``CHECKS``.

Every check is a handler of a few lines, a script for the peer, and the bytes that must come back, written out.
"""
