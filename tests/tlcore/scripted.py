"""Scripted: a tracker in memory, for the tests of what is done with trackers."""

from tlcore.tracking.tracker import TrackerError


class Scripted:
    """A tracker in memory, which fails at calls that a script names.

    What it keeps is in `store`, a dict of runs by key, which outlives it as a server
    outlives a process.
    """

    name, remedy, group = "Scripted", "Start it", "group"
    address, look = "script://", "script://look"
    run_name = None

    def __init__(self, store=None, fails=()):
        self.store = {} if store is None else store
        self.fails, self.calls, self.id = set(fails), [], ""

    def _call(self, name):
        self.calls.append(name)
        if name in self.fails:
            raise TrackerError(f"{name} failed")

    @property
    def run(self):
        return self.store[self.id]

    @property
    def epochs(self):
        return [epoch for epoch, *_ in self.run["epochs"]]

    def connect(self):
        self._call("connect")

    def open(self, key):
        self._call("open")
        self.id = key
        new = {"epochs": [], "params": {}, "tags": {}, "final": {}, "files": {}}
        run = self.store.setdefault(key, new)
        run["status"] = "running"
        return set(self.epochs)

    def describe(self, params, tags):
        self._call("describe")
        self.run["params"] |= params
        self.run["tags"] |= tags

    def log(self, epoch, moment, phase, figures):
        self._call("log")
        self.run["epochs"].append((epoch, moment, phase, figures))

    def conclude(self, figures):
        self._call("conclude")
        self.run["final"] |= figures

    def attach(self, path):
        self._call("attach")
        self.run["files"][path.name] = path.read_bytes()

    def end(self, status):
        self._call("end")
        self.run["status"] = status
