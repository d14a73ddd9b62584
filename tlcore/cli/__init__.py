"""Cli: the command `tlcore`. The only user of click."""
