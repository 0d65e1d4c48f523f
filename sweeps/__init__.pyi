from sweeps.api import compare as compare
from sweeps.api import load as load
from sweeps.api import report as report
from sweeps.api import run_sweep as run_sweep
from sweeps.api import runs as runs
