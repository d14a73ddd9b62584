"""Paired comparison: two sides of a project, measured in turn on one machine."""
