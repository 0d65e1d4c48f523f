"""Use of memory, processors and a GPU by the process that trains, and operations of a training.

Linux counts the first two exactly, torch the memory of its own on a GPU. How busy a GPU is comes
from its driver, where the package nvidia-ml-py is installed.
"""

import logging
import re
import resource
import time
from contextlib import suppress
from pathlib import Path

import torch

from hcl import Runtime
from hcl.config import TrialConfig
from sweeps.workers.context import RunContext

log = logging.getLogger(__name__)

SECONDS = 1.0  # between two looks at a GPU
STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5): sets the peak to the memory in use


class Usage:
    """Use since it was made; of seeds that are trained together each has that of them all.

    Args:
        device: the one of the training.
    """

    def __init__(self, device: str) -> None:
        self._gpu = device if device.startswith("cuda") and torch.cuda.is_available() else None
        self._began, self._cpu = time.monotonic(), time.process_time()
        self._looked, self._busy = self._began, [0.0, 0.0]  # percent, looks
        with suppress(OSError):  # else the peak is that of the process so far
            FORGET.write_text(RESET_PEAK)
        if self._gpu:
            torch.cuda.reset_peak_memory_stats(self._gpu)

    def look(self) -> None:
        """Look how busy the GPU is, unless the last look was a moment ago."""
        if self._gpu and time.monotonic() - self._looked >= SECONDS:
            self._looked = time.monotonic()
            with suppress(Exception):  # no nvidia-ml-py, or whatever else its driver says
                self._busy[0] += torch.cuda.utilization(self._gpu)
                self._busy[1] += 1

    def metrics(self) -> dict[str, float]:
        """Name what was used up to now: GB (10^9 bytes), cores on average, percent of a GPU."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        used = {
            "usage/peak_memory_gb": peak_bytes() / 1e9,
            "usage/cpu_cores": (time.process_time() - self._cpu) / seconds,
        }
        if self._gpu:
            used["usage/peak_gpu_memory_gb"] = torch.cuda.max_memory_allocated(self._gpu) / 1e9
        if self._busy[1]:
            used["usage/gpu_percent"] = self._busy[0] / self._busy[1]
        return used


def peak_bytes() -> int:
    """Return the most memory that this process has held since its peak was last forgotten."""
    with suppress(OSError):
        if found := re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text()):
            return 1024 * int(found[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def count_operations(config: TrialConfig, context: RunContext) -> dict[str, float]:
    """Name the operations per sample of a training step and of a prediction; empty if unknown.

    Trials of a search are not counted: the first count of a process takes torch 1.5 s, which is
    as long as a short trial.
    """
    from hcl.measure.flops import count_flops  # imports what no trial of a search needs

    try:
        runtime = Runtime(device=context.device, data_root=context.data_root)
        flops = count_flops(config, runtime)
    except Exception as error:  # a count must never lose what was trained
        log.warning("operations of %s are not counted: %s", config.method_name, error)
        return {}
    return {"flops/training": flops.training, "flops/prediction": flops.prediction}
