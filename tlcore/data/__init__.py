"""Data: images on disk, and what is read from them. Knows no model."""
