"""A pytest plugin that records what a case did and compares it with accepted baselines.

`record` owns what a case left, `store` the files under `results/`, `plugin` the pytest
hooks and the fixture `record`, `cli` the command `tlbench`. Only `plugin` imports
pytest; nothing here imports TensorFlow or tlcore.
"""
