"""Splitting: a model cut into a frozen prefix and a suffix with the same bits."""
