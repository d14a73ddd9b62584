"""Checkpoints: the state of a training, written so that it goes on as if unbroken."""
