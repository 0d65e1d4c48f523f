"""Handling of Ctrl-C, SIGTERM and SIGHUP: the first stops a sweep in order, the second at once.

SIGHUP comes when the terminal is closed. Under `nohup` it stays ignored.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupt:
    """A context in which a signal stops Ray Tune between two of its steps.

    Attributes:
        requested: whether a signal came.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        for number in (*STOPS, signal.SIGUSR1):
            self._before[number] = signal.getsignal(number)
        self.listen()
        return self

    def listen(self) -> None:
        """Take the signals; once more after `ray.init`, which takes SIGTERM for itself."""
        # Python lets no other thread than the main one handle signals.
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                if number != signal.SIGHUP or self._before[number] != signal.SIG_IGN:
                    signal.signal(number, self._handle)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        tune_listens = signal.getsignal(signal.SIGUSR1) != self._before[signal.SIGUSR1]
        if self.requested or not tune_listens:
            self.requested = True
            raise KeyboardInterrupt
        self.requested = True
        # Ray Tune handles this signal itself: it ends its loop and keeps the trials as they are.
        signal.raise_signal(signal.SIGUSR1)
