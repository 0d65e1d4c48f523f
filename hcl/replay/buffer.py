"""True samples of past tasks, within a budget: a reservoir, or an equal part for every class."""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor

# Orders the samples of one class, most wanted first: (n, *input_shape) -> int64 (n,).
Order = Callable[[Tensor], Tensor]


class Buffer:
    """Samples kept for replay: at most `size`, over all tasks.

    Pixels are kept in 8 bits, other features in float32.

    Args:
        size: the budget, in samples.
        input_shape: shape of one sample.
        draws: CPU generator, for what is kept and what is replayed; its state is part of `state`.
        num_logits: outputs of the network that are kept with a sample; 0 = none.

    Attributes:
        num_seen: samples that were offered to the reservoir.
        kept_x: uint8 or float32 (n, *input_shape).
        kept_y: int64 (n,), index of the right output unit.
        kept_logits: float32 (n, num_logits).
        counts: samples of each class, which lie one class after the other (`share` alone).
    """

    def __init__(
        self,
        size: int,
        input_shape: tuple[int, ...],
        draws: torch.Generator,
        num_logits: int = 0,
    ) -> None:
        self.size, self.draws, self.num_logits = size, draws, num_logits
        self.num_seen, self.counts = 0, list[int]()
        self.kept_x = torch.empty(0, *input_shape, dtype=torch.uint8)
        self.kept_y = torch.empty(0, dtype=torch.int64)
        self.kept_logits = torch.empty(0, num_logits)

    def __len__(self) -> int:
        return len(self.kept_y)

    def begin(self, x: Tensor) -> None:
        """Take a task's training data as pixels or features, whichever they are."""
        if not len(self):
            self.kept_x = self.kept_x.to(device=x.device, dtype=x.dtype)
            self.kept_y = self.kept_y.to(x.device)
            self.kept_logits = self.kept_logits.to(x.device)

    def places(self, num_new: int) -> tuple[Tensor, Tensor]:
        """Choose places of the reservoir to overwrite, each once, and the new samples for them.

        Algorithm R (Vitter, 1985): what is kept is a uniform sample of all that was offered.

        Returns:
            int64 (n,) and int64 (n,).
        """
        placed: dict[int, int] = {}
        for sample in torch.randperm(num_new, generator=self.draws).tolist():
            place = self.num_seen
            if place >= self.size:
                place = int(torch.randint(self.num_seen + 1, (1,), generator=self.draws))
            if place < self.size:
                placed[place] = sample
            self.num_seen += 1
        return torch.tensor(list(placed), dtype=torch.int64), torch.tensor(
            list(placed.values()), dtype=torch.int64
        )

    def put(self, places: Tensor, x: Tensor, y: Tensor, logits: Tensor | None = None) -> None:
        """Write samples to places of the reservoir, in [0, 1] where they are pixels."""
        if not len(places):
            return
        size = max(len(self), int(places.max()) + 1)
        self.kept_x, self.kept_y = _grown(self.kept_x, size), _grown(self.kept_y, size)
        places = places.to(self.kept_y.device)
        self.kept_x[places], self.kept_y[places] = self._stored(x), y
        if logits is not None:
            self.kept_logits = _grown(self.kept_logits, size)
            self.kept_logits[places] = logits.to(self.kept_logits.dtype)

    def offer(self, x: Tensor, y: Tensor, logits: Tensor | None = None) -> None:
        """Offer a batch to the reservoir."""
        places, chosen = self.places(len(y))
        chosen = chosen.to(y.device)
        self.put(places, x[chosen], y[chosen], None if logits is None else logits[chosen])

    def share(self, x: Tensor, y: Tensor, order: Order) -> None:
        """Give every class an equal part of the budget; older classes give up their last samples.

        Args:
            x: samples of the classes of one task, (n, *input_shape).
            y: int64 (n,).
            order: says which of a class to keep first.
        """
        classes = y.unique().tolist()
        each = max(1, self.size // (len(self.counts) + len(classes)))
        old = zip(self.kept_x.split(self.counts), self.kept_y.split(self.counts), strict=True)
        parts = [(its_x[:each], its_y[:each]) for its_x, its_y in old] if self.counts else []
        for unit in classes:
            own = x[y == unit]
            best = order(own)[:each]
            parts.append((self._stored(own[best]), torch.full_like(best, unit)))
        xs, ys = zip(*parts[: self.size], strict=True)
        self.kept_x, self.kept_y = torch.cat(xs), torch.cat(ys)
        self.counts = [len(its_y) for its_y in ys]

    def draw(self, count: int) -> Tensor:
        """Draw places of samples, with replacement: int64 (count,)."""
        drawn = torch.randint(len(self), (count,), generator=self.draws)
        return drawn.to(self.kept_y.device)

    def inputs(self, places: Tensor | slice, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return samples as networks take them."""
        kept = self.kept_x[places]
        return kept.to(dtype) / 255 if kept.dtype == torch.uint8 else kept.to(dtype)

    def random_order(self, x: Tensor) -> Tensor:
        """Order samples at random; an `Order`."""
        return torch.randperm(len(x), generator=self.draws).to(x.device)

    def num_bytes(self, num_samples: int | None = None) -> int:
        """Return the memory of so many samples; None for the whole budget."""
        count = self.size if num_samples is None else min(self.size, num_samples)
        pixel = self.kept_x.element_size()
        return count * (prod(self.kept_x.shape[1:]) * pixel + 8 + 4 * self.num_logits)

    def state(self) -> dict[str, Any]:
        """Return all that a restart needs."""
        found = {
            "draws": self.draws.get_state(),
            "num_seen": self.num_seen,
            "kept_x": self.kept_x,
            "kept_y": self.kept_y,
        }
        if self.num_logits:
            found["kept_logits"] = self.kept_logits
        return found | {"counts": self.counts} if self.counts else found

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        """Put back what `state` returned; tensors are copied, because `put` writes in place."""
        self.draws.set_state(state["draws"])
        self.num_seen, self.counts = state["num_seen"], list(state.get("counts", []))
        self.kept_x, self.kept_y = (state[k].to(device).clone() for k in ("kept_x", "kept_y"))
        if self.num_logits:
            self.kept_logits = state["kept_logits"].to(device).clone()

    def _stored(self, x: Tensor) -> Tensor:
        return (x * 255).round().to(torch.uint8) if self.kept_x.dtype == torch.uint8 else x


def herding(features: Tensor, count: int) -> Tensor:
    """Order samples such that the mean of the first k is near the mean of all, for every k.

    Rebuffi et al. (2017), algorithm 4, each sample once:
    p_k = argmin_x || mu - (phi(x) + sum_{j<k} phi(p_j)) / k ||.

    Args:
        features: phi, (n, D).
        count: samples to choose.

    Returns:
        int64 (min(n, count),)
    """
    # k^2 ||...||^2 = ||phi||^2 + 2 phi . total - 2 k phi . mu + (the same for all samples): one
    # product with a vector for each choice. Arrays of all features, made and dropped between the
    # choices, would be slower, and leave gaps in the heap that no later one fits into.
    features = features.double()  # the terms cancel
    size, to_mean = features.square().sum(dim=1), features @ features.mean(dim=0)
    to_total = torch.zeros_like(size)
    chosen = torch.empty(min(len(features), count), dtype=torch.long, device=features.device)
    for k in range(1, len(chosen) + 1):
        best = (size + 2 * to_total - 2 * k * to_mean).argmin()
        chosen[k - 1] = best
        size[best] = torch.inf
        to_total += features @ features[best]
    return chosen


def _grown(kept: Tensor, size: int) -> Tensor:
    """Make room for `size` samples."""
    if len(kept) == size:
        return kept
    room = kept.new_zeros(size, *kept.shape[1:])
    room[: len(kept)] = kept
    return room
