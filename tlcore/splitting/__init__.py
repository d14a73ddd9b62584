"""Splitting: a model cut into a frozen prefix and the rest, exactly. Needs no disk."""
