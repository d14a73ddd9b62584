"""Predictions: what a model says of each image, and what that is worth."""
