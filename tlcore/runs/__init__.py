"""Runs: what a recipe trains, and what it leaves on disk."""
