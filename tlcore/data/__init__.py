"""Data: images on disk, and the datasets that read them. Knows no model."""
