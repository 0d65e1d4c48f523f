"""||A V - A* V*||^2 and its gradient from small products.

With features A = [phi, 1] (a row per task and chunk) and the output layer V (H + 1, C), the chunks
are A V. Against the values at the start of the task, A* and V*, with D = A - A* and E = V - V*,

    A V - A* V* = D V + A* E
    ||.||^2 = <D'D, V V'> + 2 <D'A*, V E'> + <A*'A*, E E'>        (' = transposed)

so that the penalty and its gradient need (H + 1) x (H + 1) products alone. Every term is a product
of small differences: nothing cancels (DESIGN.md, section 4).

Every tensor may have further dimensions before those named, e.g. one of replicas.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Product(Protocol):
    """a @ b, written to `out` if given."""

    def __call__(self, a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor: ...


Factor = float | Tensor  # a tensor: (..., 1, 1)


@dataclass(frozen=True)
class Columns:
    """Products of the output layer over some of its columns, (H + 1, H + 1) each."""

    outer: Tensor  # V V'
    mixed: Tensor  # V E'
    change: Tensor  # E E'

    def factor(self, factor: Factor) -> Tensor:
        """F (2 H + 1, H): [D, A*] @ F is `factor` times the value's gradient for D, where D is
        without its last column."""
        of_diff, of_start = self.outer[..., :-1, :-1], self.mixed.mT[..., :-1]
        return 2 * factor * torch.cat([of_diff, of_start], dim=-2)

    def __add__(self, other: "Columns") -> "Columns":
        return Columns(
            self.outer + other.outer, self.mixed + other.mixed, self.change + other.change
        )


@dataclass(frozen=True)
class Rows:
    """Products of the features over some tasks and chunks, (H + 1, H + 1) each.

    D's last column is 0, that of A* is 1.
    """

    gram: Tensor  # D'D
    cross: Tensor  # D'A*
    kept: Tensor  # A*'A*

    @staticmethod
    def of(both: Tensor, kept: Tensor) -> "Rows":
        """From D' [D, A*] without D's last column, (H, 2 H + 1), and A*'A*."""
        size = both.shape[-2]
        gram, cross = F.pad(both, (0, 0, 0, 1)).split([size, size + 1], dim=-1)
        return Rows(F.pad(gram, (0, 1)), cross, kept)

    def value(self, columns: Columns) -> Tensor:
        """||D V + A* E||^2 over these rows and those columns."""
        total = _inner(self.gram, columns.outer) + 2 * _inner(self.cross, columns.mixed)
        return total + _inner(self.kept, columns.change)

    def factors(self, factor: Factor) -> Tensor:
        """K (H + 1, 2 (H + 1)): K @ (V* over E) is `factor` times the value's gradient for V.

        dV = 2 ((D'D + D'A*)' V + (D'A* + A*'A*) E), with V = V* + E.
        """
        moved = self.gram + self.cross
        return torch.cat([moved.mT, moved + self.cross.mT + self.kept], dim=-1).mul_(2 * factor)


def columns_of(both: Tensor, kept: Tensor) -> Columns:
    """From V* E' over E E' (2 (H + 1), H + 1) and V* V*'."""
    by_change, change = both.tensor_split(2, dim=-2)
    return Columns(kept + by_change + by_change.mT + change, by_change + change, change)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1))


def rough_product(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """a @ b with inputs and result rounded to bfloat16, summed in float32 by the hardware."""
    a, b = a.bfloat16(), b.bfloat16()
    if out is not None and out.dtype == torch.bfloat16:
        return torch.matmul(a, b, out=out)
    found = a @ b
    return found.float() if out is None else out.copy_(found)
