"""Caching: the outputs of frozen layers, computed once and kept on disk."""
