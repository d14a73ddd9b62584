"""Processes: whether one of this machine is still there."""

import os


def is_alive(process: int) -> bool:
    """Tell whether a process of this machine is there, by its number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is there, and someone else's
    return True
