"""Tools to test handlers and hosts with."""
