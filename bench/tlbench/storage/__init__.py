"""The files under `results/`: their paths, their JSON, and writing them whole."""
