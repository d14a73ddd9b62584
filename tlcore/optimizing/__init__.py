"""Optimizing: the optimizer, learning rates and loss of a phase, and compiling."""
