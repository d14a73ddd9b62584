"""Backbones: networks by name, file, handle or model, frozen and in inference mode."""
