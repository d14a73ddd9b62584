"""Choosing: which backbone, learning rate and head, before a run is trained."""
