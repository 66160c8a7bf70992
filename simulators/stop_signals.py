"""Ctrl-C and SIGTERM as one exception in the main thread, once, and never while a child is being started.

A handler runs between any two steps of the program. One that raises inside ``Popen`` leaves a process that nobody
knows of; so what must not be cut in two runs under `held`, and the exception comes at its end. Not by a blocked mask:
children would inherit that and never stop.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class StopAsked(BaseException):
    """Not KeyboardInterrupt: once that has passed through an ``exec`` (a dataclass that is just being imported), Python
    ends with the code of an interrupted process although we stopped in order.
    """


class StopSignals:
    def __init__(self) -> None:
        self._is_asked = False
        self._is_held = False
        self._is_owed = False

    def install(self) -> None:
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)

    def ignore(self) -> None:
        """We are stopping already."""
        self._is_asked = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Raises ``StopAsked`` at its end when it was asked for within."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._is_owed:
            self._is_owed = False
            raise StopAsked

    def _on_signal(self, _number: int, _frame: object) -> None:
        if self._is_asked:
            return
        self._is_asked = True
        if self._is_held:
            self._is_owed = True
        else:
            raise StopAsked
