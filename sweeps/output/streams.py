"""Standard output and error that outlive their readers.

`hcl sweep ... | head -1` costs the lines that nobody reads, not the sweep; so does a terminal that
goes away, or a full disk under `hcl sweep ... > FILE`.
"""

import errno
import sys
from collections.abc import Callable
from typing import Any, TextIO

_GONE = (errno.EPIPE, errno.EIO)  # a closed pipe, a closed terminal: nobody is left to read


class Stream:
    """A text stream that can always be written to; after an error it drops what it gets.

    Args:
        stream: the real one.

    Attributes:
        error: the first error of a write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write, or drop; return the number of characters."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Pass on what waits."""
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, action: Callable[[], object]) -> None:
        if self.error is None:
            try:
                action()
            except OSError as error:
                self.error = error


def outlive_readers() -> None:
    """Let this process go on when its standard output or error is closed or full."""
    # None where the process was started without one: Python then drops what is printed itself.
    sys.stdout = Stream(sys.stdout) if sys.stdout else sys.stdout
    sys.stderr = Stream(sys.stderr) if sys.stderr else sys.stderr


def lost_output() -> str:
    """Say why standard output is not complete; empty if it is, or if its reader went away."""
    if sys.stdout:
        sys.stdout.flush()
    error = getattr(sys.stdout, "error", None)
    if error is None or error.errno in _GONE:
        return ""
    return f"standard output cannot be written ({error.strerror}); all else was done"
