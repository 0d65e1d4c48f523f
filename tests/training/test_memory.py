"""Large tensors come from the process's own heap, which is kept, not from new mappings."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, torch
if sys.argv[1] == "keep":
    from hcl.training.process import keep_freed_memory
    keep_freed_memory()
large = torch.ones(20_000_000)  # 80 MB, above every threshold of glibc
heap = next(line for line in open("/proc/self/maps") if line.rstrip().endswith("[heap]"))
low, high = (int(part, 16) for part in heap.split()[0].split("-"))
print(low <= large.data_ptr() < high)
"""


def is_on_the_heap(how: str) -> bool:
    command = [sys.executable, "-c", PROGRAM, how]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout == "True\n"


@pytest.mark.timeout(60)
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc alone can be told")
def test_large_tensors_are_not_mapped_anew() -> None:
    assert is_on_the_heap("keep") and not is_on_the_heap("leave")
