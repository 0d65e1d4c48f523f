"""Random streams, one per (seed, purpose): draws of one part never shift another's stream."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(*parts: int | str) -> int:
    """Derive a 63-bit seed from a trial's seed and a purpose: `derive(seed, "batches", task)`."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """Make a generator for `parts` alone, on the CPU, where every device draws the same."""
    return torch.Generator().manual_seed(derive(*parts))


@contextmanager
def isolated(*parts: int | str) -> Iterator[None]:
    """Seed torch's global generators for a block and put them back afterwards."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(derive(*parts))
        yield


def get_global_state() -> dict[str, torch.Tensor]:
    """Read the state of torch's global generators, as tensors that a safe load accepts."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_global_state(states: dict[str, torch.Tensor]) -> None:
    """Put back what `get_global_state` returned."""
    torch.set_rng_state(states["cpu"].cpu())
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"].cpu())
