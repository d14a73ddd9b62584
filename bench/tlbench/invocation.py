"""The options of a session, as a fresh process of it gets them.

Owns which options are handed on, so that a fresh process measures what the session
measured: those of plugins and of the suite are, what selects cases, writes a second
time or stops early is not. Where pytest keeps its options is up to `plugin`.
"""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

# A fresh process runs one case by its node id.
_SELECTION = {
    *("-k", "-m", "--deselect", "--ignore", "--ignore-glob", "--pyargs"),
    *("--lf", "--last-failed", "--ff", "--failed-first", "--nf", "--new-first"),
    *("--lfnf", "--last-failed-no-failures"),
    *("--sw", "--stepwise", "--sw-skip", "--stepwise-skip"),
    *("--sw-reset", "--stepwise-reset"),
    *("--splits", "--group", "--shard-id", "--num-shards"),  # of pytest-split, -shard
}
# A second writer would replace the session's own files, or clear its folders.
_WRITERS = {
    *("--junitxml", "--junit-xml", "--html", "--report-log", "--alluredir"),
    *("--json-report", "--json-report-file", "--csv", "--md-report-output"),
    *("--pastebin", "--debug", "--log-file", "--basetemp", "--cache-clear"),
    *("--benchmark-save", "--benchmark-autosave", "--benchmark-save-data"),
    *("--benchmark-json", "--benchmark-histogram", "--benchmark-storage"),
    *("--benchmark-compare", "--benchmark-compare-fail", "--benchmark-cprofile-dump"),
    # Coverage itself is handed on: it slows the cases that are compared.
    *("--cov-report", "--cov-fail-under", "--cov-append"),
    *("--tl-save", "--tl-gate", "--tl-confirm", "--tl-report", "--tl-records"),
    "--tl-repeat",
}
_STOPS = {
    *("-x", "--exitfirst", "--maxfail", "--collect-only", "--co", "--pdb", "--trace"),
    *("--setup-only", "--setup-plan", "--setuponly", "--setupplan"),
}
_WORKERS = {
    *("-n", "--numprocesses", "--maxprocesses", "--max-worker-restart", "--dist"),
    *("--loadscope-reorder", "--no-loadscope-reorder", "--tx", "--px", "-d"),
    *("--rsyncdir", "--rsyncignore", "--testrunuid", "--maxschedchunk"),
    *("-f", "--looponfail"),
}
# Found out by the session already, and given as paths that hold anywhere.
_PLACES = {"-c", "--config-file", "--rootdir"}

_OWN = frozenset(_SELECTION | _WRITERS | _STOPS | _WORKERS | _PLACES)
"""Options that a fresh process does not share with its session."""


def handed_on(
    arguments: Sequence[str], parser: argparse.ArgumentParser
) -> tuple[str, ...]:
    """Return the options among some arguments that a fresh process gets too.

    Args:
        arguments: a command line of pytest: options, files and node ids, mixed.
        parser: the parser of the session, which knows the options of its plugins.

    Returns:
        The options in their order, without files and node ids.

    >>> parser = argparse.ArgumentParser()
    >>> _ = parser.add_argument("-x", action="store_true")
    >>> _ = parser.add_argument("-q", action="count")
    >>> _ = parser.add_argument("--size", type=int)
    >>> handed_on(["-xq", "tests", "--size", "2"], parser)
    ('-q', '--size=2')
    """
    # Only the parser tells an option's value from a file (`--size tests tests`) and
    # takes `-xq` and `-kname` apart. pytest keeps what an option came to mean, not the
    # words: so the words are parsed again, by a parser with the same options that
    # notes each option as it was written.
    noting = argparse.ArgumentParser(
        add_help=False,
        allow_abbrev=False,
        fromfile_prefix_chars=parser.fromfile_prefix_chars,
    )
    for action in parser._actions:  # noqa: SLF001 - argparse lists them nowhere else
        if action.option_strings:
            noting.add_argument(
                *action.option_strings,
                action=_Note,
                dest="noted",
                nargs=action.nargs,
            )
    # With no positional argument of its own it leaves files and node ids over.
    found, _ = noting.parse_known_args(list(arguments))
    noted: Iterable[tuple[argparse.Action, str, Any]] = found.noted or ()
    return tuple(
        word
        for action, option, values in noted
        if _OWN.isdisjoint(action.option_strings)
        for word in _words(option, values)
    )


class _Note(argparse.Action):
    """Notes the option and the words after it, in the order of the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - argparse passes it
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Note one option."""
        before = getattr(namespace, self.dest) or []
        setattr(namespace, self.dest, [*before, (self, option_string, values)])


def _words(option: str, values: Any) -> tuple[str, ...]:
    """Return an option and its values as words that are read the same again."""
    if values is None:
        return (option,)  # an optional value that was left out
    if not isinstance(values, str):
        return (option, *values)
    if option.startswith("--"):
        return (f"{option}={values}",)
    # After a space, a value such as `-slow` would be read as an option.
    return (option + values,) if values.startswith("-") else (option, values)
