"""Exporting: a trained model in a form that runs without this package, checked."""
