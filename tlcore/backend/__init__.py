"""Backends: what differs between TensorFlow, JAX and PyTorch, one module for each."""
