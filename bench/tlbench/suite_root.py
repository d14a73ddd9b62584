"""The folder that the names of cases are relative to.

pytest's rootdir, except where it depends on options of a plugin. Without an ini file
pytest looks at every argument that is an existing path, before it knows which of them
are values of options: `--tl-results DIR` moves the rootdir, and with it all node ids,
from the run on that finds the folder there.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path


def suite_root(start: Path, arguments: Iterable[str]) -> Path:
    """Return the rootdir of a suite without an ini file, from its files alone.

    By pytest's own rule for that: the folder with a `setup.py` at or above all
    arguments, else the common folder of these and of where the session was started.

    Args:
        start: where the session was started.
        arguments: files, folders and node ids.
    """
    paths = [(start / one.partition("::")[0]).resolve() for one in arguments]
    folders = [x if x.is_dir() else x.parent for x in paths if x.exists()]
    common = _common(folders or [start])
    for folder in (common, *common.parents):
        if (folder / "setup.py").is_file():
            return folder
    return _common([common, start.resolve()])


def renamed(node: str, rootdir: Path, root: Path) -> str:
    """Return a node id of a session relative to another root.

    >>> renamed("suite/test_a.py::test_b[x/y]", Path("/home"), Path("/home/suite"))
    'test_a.py::test_b[x/y]'
    """
    if root == rootdir:
        return node
    file, mark, rest = node.partition("::")
    path = Path(os.path.relpath(rootdir / file, root)).as_posix()
    return f"{path}{mark}{rest}"


def _common(folders: Sequence[Path]) -> Path:
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:  # on several drives
        return folders[-1]
