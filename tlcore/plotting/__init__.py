"""Plotting: figures of images and of histories. Knows no model and trains nothing."""
