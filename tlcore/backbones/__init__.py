"""Backbones: whatever a user may pass becomes one frozen network in inference mode."""
