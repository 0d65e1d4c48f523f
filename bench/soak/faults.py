"""The faults of a soak: each breaks one thing now and says what; some are mended a while later."""

import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.soak import processes
from bench.soak.driver import Driver

RAYLET = "raylet/raylet "
FLIPPED = 8  # bits of a checkpoint
DOWN = (3.0, 20.0)  # seconds that a server or a database is away


@dataclass
class Scene:
    """What there is to break.

    Attributes:
        driver: the sweep under way.
        server: MLflow's (`tests.sweeps.servers.Server`).
        postgres: holds the study (`tests.sweeps.postgres.Postgres`); None = sqlite does.
        draw: chooses processes, files, bytes and seconds.
        repairs: "mlflow" or "database" while it is away -> when it is due back, and what mends it.
    """

    driver: Driver
    server: Any
    postgres: Any
    draw: random.Random
    repairs: dict[str, tuple[float, Callable[[], None]]] = field(default_factory=dict)

    def later(self, what: str, repair: Callable[[], None]) -> float:
        """Mend it after a while; return the seconds."""
        seconds = self.draw.uniform(*DOWN)
        self.repairs[what] = (time.monotonic() + seconds, repair)
        return seconds

    def repair(self, all_now: bool = False) -> None:
        """Mend what is due."""
        for what, (due, mend) in list(self.repairs.items()):
            if all_now or due <= time.monotonic():
                mend()
                del self.repairs[what]

    def sweep_processes(self) -> list[int]:
        """List the processes of sweeps, drivers and workers; the servers are none."""
        server = self.server.process
        return processes.marked(os.environ[processes.MARK], server.pid if server else 0)


def kill_worker(scene: Scene) -> str | None:
    """Kill the process of a trial under way."""
    if not (trainers := scene.driver.trainers()):
        return None
    folder, pid = scene.draw.choice(sorted(trainers.items()))
    os.kill(pid, signal.SIGKILL)
    return f"kill -9 {pid}, which trained trial {folder.parent.name}"


def kill_raylet(scene: Scene) -> str | None:
    """Kill the driver's Ray node process."""
    driver = scene.driver.pid
    for pid in scene.sweep_processes():
        if processes.parent(pid) == driver and RAYLET in processes.command(pid):
            os.kill(pid, signal.SIGKILL)
            return f"kill -9 {pid}, the raylet of driver {driver}"
    return None


def kill_driver(scene: Scene) -> str | None:
    """Kill the driver, whatever it is doing."""
    if scene.driver.status is not None:
        return None
    os.kill(scene.driver.pid, signal.SIGKILL)
    return f"kill -9 {scene.driver.pid}, the driver"


def stop_mlflow(scene: Scene) -> str | None:
    """Kill MLflow's server and start it again a while later."""
    server = scene.server
    if "mlflow" in scene.repairs or not server.is_up():
        return None
    server.kill()
    seconds = scene.later(
        "mlflow", lambda: threading.Thread(target=server.start, daemon=True).start()
    )
    return f"kill -9 the MLflow server, for {seconds:.0f} s"


def stop_database(scene: Scene) -> str | None:
    """Keep the study's database from answering for a while."""
    if "database" in scene.repairs:
        return None
    if scene.postgres is not None:
        scene.postgres.stop()
        return f"stop PostgreSQL, for {scene.later('database', scene.postgres.start):.0f} s"
    path = scene.driver.folder.path / "study.db"
    if not path.exists():
        return None
    lock = sqlite3.connect(path, timeout=0.2, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:  # somebody writes just now
        lock.close()
        return None
    return f"lock study.db, for {scene.later('database', lock.close):.0f} s"


def flip_checkpoint(scene: Scene) -> str | None:
    """Flip bits in the newest checkpoint of a trial, and kill its process, so that it is read."""
    trainers = scene.driver.trainers()
    saved = {folder: sorted(folder.glob("checkpoints/[0-9]*.pt")) for folder in trainers}
    if not (folders := sorted(folder for folder, paths in saved.items() if paths)):
        return None
    folder = scene.draw.choice(folders)
    processes.kill([trainers[folder]])
    newest = sorted(folder.glob("checkpoints/[0-9]*.pt"))[-1]
    flip(newest, scene.draw, FLIPPED)
    where = newest.relative_to(scene.driver.folder.path)
    return f"flip {FLIPPED} bits of {where}, kill -9 {trainers[folder]}, which wrote it"


def flip_journal(scene: Scene) -> str | None:
    """Flip a bit in any journal of the sweep."""
    paths = sorted(scene.driver.folder.path.glob("trials/*/*/journal.jsonl"))
    if not paths:
        return None
    path = scene.draw.choice(paths)
    where = flip(path, scene.draw, 1)
    return f"flip a bit of {path.relative_to(scene.driver.folder.path)} {where}" if where else None


def flip(path: Path, draw: random.Random, count: int) -> str:
    """Flip a bit in each of `count` bytes; say where. Empty if the file is."""
    said = []
    with open(path, "r+b") as file:
        data = file.read()
        for _ in range(count if data else 0):
            offset, bit = draw.randrange(len(data)), 1 << draw.randrange(8)
            file.seek(offset)
            file.write(bytes([data[offset] ^ bit]))
            line = data.count(b"\n", 0, offset) + 1
            near = data[max(0, offset - 12) : offset + 12].decode(errors="replace")
            said.append(f"(line {line}, byte {offset}, bit {bit}, in {near!r})")
    return " ".join(said[:1])


FAULTS: dict[str, Callable[[Scene], str | None]] = {
    "worker": kill_worker,
    "raylet": kill_raylet,
    "driver": kill_driver,
    "mlflow": stop_mlflow,
    "database": stop_database,
    "checkpoint": flip_checkpoint,
    "journal": flip_journal,
}


def order(seed: int, only: list[str] | None = None) -> Callable[[], str]:
    """Make the function that chooses the next kind: each once in random order, then again."""
    draw = random.Random(seed)
    bag: list[str] = []

    def choose() -> str:
        if not bag:
            bag.extend(only or FAULTS)
            draw.shuffle(bag)
        return bag.pop()

    return choose
