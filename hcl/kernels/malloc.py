"""Memory that was freed stays with the process, where the C library can be told so."""

import ctypes
from functools import cache

# glibc, malloc.h
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


@cache
def keep_freed_memory() -> None:
    """Let freed tensors be used again without asking the operating system, from now on.

    Otherwise every tensor above 32 MB at most is mapped anew when it is made, and each of its
    pages is cleared when it is first written. Nothing is done where the C library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, -1)
    mallopt(M_ARENA_MAX, 1)  # a thread's own arena (Ray trains in a thread) cannot hold much
