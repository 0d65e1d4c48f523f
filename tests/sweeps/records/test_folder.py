"""The folder of a sweep: who works in it."""

import subprocess
import sys
from pathlib import Path

from hcl.storage.files import locked
from sweeps.records.folder import wait_for_writers


def test_a_worker_that_lives_on_is_waited_for(tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from hcl.storage.files import locked\n"
    code += "with locked(Path(sys.argv[1])):\n    print('mine', flush=True); time.sleep(1)\n"
    folder = tmp_path / "seed_1"
    command = [sys.executable, "-c", code, str(folder / ".lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == "mine\n"
        wait_for_writers([folder], seconds=0.0)
        assert worker.poll() is None, "it waits no longer than it was told"
        wait_for_writers([folder, tmp_path / "seed_2"], seconds=30.0)
        with locked(folder / ".lock", timeout=0):
            pass
