"""Signals: what ends the program from outside.

Owns turning SIGINT, SIGTERM and SIGHUP into exceptions that training notices, and that
wait for the end of a step while there is something to be kept.
"""

import signal
import sys
from types import FrameType
from typing import Any, Self

from tlcore.cli.output import echo


class Signals:
    """What ends the program from outside, even where Python forgets about it.

    An exception that a handler raises while an object is being finalized is printed
    and dropped. Here it is remembered, and training asks for it after every step.

    Between `hold` and `release` a first signal waits, and a second one does not.
    """

    def __init__(self) -> None:
        self._ending: BaseException | None = None
        self._held = False
        self._handlers: dict[int, Any] = {}
        self._hook = sys.unraisablehook

    def __enter__(self) -> Self:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows lacks the last
            number = getattr(signal, name, None)
            # A shell or nohup has some ignored.
            if number and signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._receive)
        sys.unraisablehook = self._report
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._hook

    def check(self) -> None:
        """Raise what a signal raised before."""
        if self._ending is not None:
            raise self._ending

    @property
    def asked(self) -> bool:
        """Return whether a signal has come."""
        return self._ending is not None

    def hold(self) -> None:
        """Let a signal wait from now on."""
        self._held = True

    def release(self) -> BaseException | None:
        """Let none wait any more; return what came meanwhile, None for nothing."""
        self._held = False
        return self._ending

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        first = self._ending is None
        self._ending = SystemExit(128 + number)
        if number == signal.SIGINT:
            self._ending = KeyboardInterrupt()
        if self._held and first:
            echo("ending after this step; once more to end at once", err=True)
            return
        self.check()

    def _report(self, unraisable: "sys.UnraisableHookArgs") -> None:
        if unraisable.exc_value is not self._ending:
            self._hook(unraisable)
