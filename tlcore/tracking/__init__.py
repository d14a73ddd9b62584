"""Tracking: a training's epochs in MLflow or in Weights & Biases, each of them once."""
