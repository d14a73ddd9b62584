"""A pytest plugin that records what a case did and compares it with accepted baselines.

`record` owns the values of a case, `verdicts` how they are judged, `storage` the files
under `results/`, `reporting` what people read, `session` what happens between pytest's
hooks, `plugin` these hooks and the fixture `record`, `cli` the command `tlbench`. Only
`plugin` imports pytest; nothing here imports TensorFlow or tlcore.
"""
