"""Freed memory is used again: a large tensor made twice is mapped once."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
if sys.argv[1] == "keep":
    from hcl.memory import keep_freed_memory
    keep_freed_memory()
def faults():
    torch.zeros(20_000_000)  # 80 MB, above every threshold of glibc
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
faults()
before = faults()
for _ in range(5):
    after = faults()
print(after - before)
"""


def page_faults(how: str) -> int:
    command = [sys.executable, "-c", PROGRAM, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.timeout(60)
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc alone can be told")
def test_large_tensors_are_not_mapped_anew() -> None:
    assert page_faults("keep") < 0.1 * page_faults("leave")
