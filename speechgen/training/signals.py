"""Ctrl-C and SIGTERM as a request: the loop finishes its step, saves and returns."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

__all__ = ["StopSignal"]

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """Context manager whose `stop` turns True at the first SIGINT or SIGTERM; a second one does what it usually does.

    Outside the main thread signals belong to somebody else, and `stop` stays False.
    """

    def __init__(self) -> None:
        self.stop = False
        self._usual = {number: signal.getsignal(number) or signal.SIG_DFL for number in _NUMBERS}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            for number in _NUMBERS:
                signal.signal(number, self._request)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._usual.items():
                signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.stop = True
        signal.signal(number, self._usual[number])
