"""Verdicts: pure functions from recorded and accepted values to verdicts."""
