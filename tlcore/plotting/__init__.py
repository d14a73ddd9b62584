"""Plotting: pictures of images and of histories. Trains nothing."""
