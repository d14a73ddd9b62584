"""Processes that build an entry, as the tests here start and kill them."""

import pickle
import subprocess
import sys
from pathlib import Path

import tlcore

from .entries import TWO, key_of, random_rows

CHILD = """
import itertools, os, pickle, random, resource, signal, sys, time
from pathlib import Path
import numpy as np
from tlcore.caching import entry, store
from tlcore.caching.entry import BLOCK_ROWS, Key
from tlcore.caching.store import FeatureCache
from tlcore.splitting.tensors import Tensor

folder = Path(sys.argv[1])
cache = FeatureCache(folder / "features")
if (folder / "job.pickle").exists():
    key, tensors, rows = pickle.loads((folder / "job.pickle").read_bytes())

def build(pause=lambda: None):
    with cache.building(key, tensors, {}) as builder:
        for block in range(builder.layout.blocks):
            part = slice(block * BLOCK_ROWS, (block + 1) * BLOCK_ROWS)
            builder.write(block, [array[part] for array in rows])
            pause()
"""


def start(code, folder):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(tlcore.__file__).parents[1],
    )


def run(code, folder):
    """Run a child to its end; return what it printed."""
    with start(code, folder) as process:
        printed, _ = process.communicate()
    assert process.returncode == 0
    return printed


def describe_job(folder, count):
    key, rows = key_of(count), random_rows(TWO, count)
    (folder / "job.pickle").write_bytes(pickle.dumps((key, TWO, rows)))
    return key, rows
