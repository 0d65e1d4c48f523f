"""The squared change of all generated chunks, and its gradient, from small products.

The algebra is that of `hcl/hypernets/output_regularizer.py`, in the same letters: features
A = [phi, 1] with a row for each task and chunk, output layer V (H + 1, C), A* and V* their values
at the start of the task, D = A - A* and E = V - V*. Then

    ||A V - A* V*||^2 = <D'D, V V'> + 2 <D'A*, V E'> + <A*'A*, E E'>        (' = transposed)

`FeatureGrams` holds the left factors of the three inner products, `OutputGrams` the right ones.
Their gradients are written out here, because the large matrices D, A*, V* and E then take part in
two products each, with [D, A*] and [V*; E] kept side by side in memory: autograd would make a
product of its own for every term, and copies of them for the sums.

Every tensor may have further dimensions before those named, such as one of replicas.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Factor = float | Tensor  # a tensor has the shape (..., 1, 1)


@dataclass(frozen=True)
class OutputGrams:
    """Products of the output layer with itself over some of its columns, (H + 1, H + 1) each."""

    now: Tensor  # V V'
    cross: Tensor  # V E'
    change: Tensor  # E E'

    @staticmethod
    def of(both: Tensor, kept: Tensor) -> "OutputGrams":
        """Build the products with V = V* + E from those with V* and E.

        Args:
            both: (2 (H + 1), H + 1), V* E' over E E'.
            kept: (H + 1, H + 1), V* V*'.
        """
        by_change, change = both.tensor_split(2, dim=-2)
        now = kept + by_change + by_change.mT + change
        return OutputGrams(now, by_change + change, change)

    def feature_factor(self, factor: Factor) -> Tensor:
        """Give F (2 H + 1, H): [D, A*] F is `factor` times the value's gradient for D.

        dD = 2 (D V V' + A* E V'). D stands for its first H columns here, the last one is 0.
        """
        of_diff, of_start = self.now[..., :-1, :-1], self.cross.mT[..., :-1]
        return 2 * factor * torch.cat([of_diff, of_start], dim=-2)

    def __add__(self, other: "OutputGrams") -> "OutputGrams":
        return OutputGrams(
            self.now + other.now, self.cross + other.cross, self.change + other.change
        )


@dataclass(frozen=True)
class FeatureGrams:
    """Products of the features with themselves over some tasks and chunks, (H + 1, H + 1) each.

    The last column of D is 0, that of A* is 1.
    """

    change: Tensor  # D'D
    cross: Tensor  # D'A*
    kept: Tensor  # A*'A*

    @staticmethod
    def of(both: Tensor, kept: Tensor) -> "FeatureGrams":
        """Build them from one product.

        Args:
            both: (H, 2 H + 1), D' [D, A*] without D's last column.
            kept: (H + 1, H + 1), A*'A*.
        """
        size = both.shape[-2]
        change, cross = F.pad(both, (0, 0, 0, 1)).split([size, size + 1], dim=-1)
        return FeatureGrams(F.pad(change, (0, 1)), cross, kept)

    def value(self, output: OutputGrams) -> Tensor:
        """Compute ||D V + A* E||^2 over these rows and those columns."""
        total = _inner(self.change, output.now) + 2 * _inner(self.cross, output.cross)
        return total + _inner(self.kept, output.change)

    def output_factor(self, factor: Factor) -> Tensor:
        """Give K (H + 1, 2 (H + 1)): K [V*; E] is `factor` times the value's gradient for V.

        dV = 2 ((D'D + D'A*)' V + (D'A* + A*'A*) E), with V = V* + E.
        """
        moved = self.change + self.cross
        return torch.cat([moved.mT, moved + self.cross.mT + self.kept], dim=-1).mul_(2 * factor)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1))
