"""What a message costs here and elsewhere: ``python -m benchmarks``; see ``docs/benchmarks.md``."""
