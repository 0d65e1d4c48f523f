"""Several hypernetworks that share the work: one for each group of a network's parameters."""

from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from hcl.hypernets.output_regularizer import HeadMask
from hcl.hypernets.task_hypernet import TaskHypernet


class GroupedTaskHypernet(nn.Module):
    """A TaskHypernet for each group of parameters, with task embeddings of its own.

    Together they generate one vector, group after group. Their penalties add up to the squared
    change of the whole vector, as with one hypernetwork. Methods are those of TaskHypernet.

    Args:
        members: the hypernetworks, one for each group, in order.
    """

    def __init__(self, members: list[TaskHypernet]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        ends = list(accumulate(member.hypernet.num_weights for member in members))
        self.spans = [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]
        self._made: list[Tensor] = []  # what each hypernetwork has generated in this step
        self._leaves: list[Tensor] = []  # the same, cut off from its graph

    def _each(self) -> list[TaskHypernet]:
        return list(self.members)  # type: ignore[arg-type]

    def start_task(self, task_id: int, mask: HeadMask | None = None) -> None:
        """Start the task in every hypernetwork."""
        for member, span in zip(self._each(), self.spans, strict=True):
            member.start_task(task_id, _part_of(mask, span))

    def forward(self, task_ids: range) -> Tensor:
        """Generate (T, num_weights), those of the tasks asked for."""
        return torch.cat([member(task_ids) for member in self._each()], dim=1)

    def current(self) -> Tensor:
        """Generate (num_weights,), those of the task being learned."""
        self._made = [member.current() for member in self._each()]
        self._leaves = [made.detach().requires_grad_() for made in self._made]
        return torch.cat(self._leaves)

    def update(self, loss: Tensor, others: list[Tensor]) -> tuple[Tensor | None, list[Tensor]]:
        """Take one Adam step on `loss` + beta * regularizer, with every hypernetwork.

        `loss` is differentiated once, for all that was generated; each hypernetwork goes on from
        the gradient for its own part.
        """
        num_groups = len(self._leaves)
        found = torch.autograd.grad(loss, [*self._leaves, *others])
        penalties = [
            member.update_through(made, grad)
            for member, made, grad in zip(
                self._each(), self._made, found[:num_groups], strict=True
            )
        ]
        self._made, self._leaves = [], []
        known = [penalty for penalty in penalties if penalty is not None]
        return torch.stack(known).sum() if known else None, list(found[num_groups:])

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate from the next step on."""
        for member in self._each():
            member.set_learning_rate(rate)

    def num_stored(self) -> int:
        """Count the numbers in all hypernetworks and embeddings."""
        return sum(member.num_stored() for member in self._each())

    def training_state(self) -> dict[str, Any]:
        """Give what a restart needs beside the parameters."""
        return {"members": [member.training_state() for member in self._each()]}

    def learned_state(self) -> dict[str, Any]:
        """Give the part of `training_state` that matters once a task is over."""
        return {"members": [member.learned_state() for member in self._each()]}

    def load_training_state(self, state: dict[str, Any], mask: HeadMask | None = None) -> None:
        """Put back what `training_state` returned."""
        for member, span, own in zip(self._each(), self.spans, state["members"], strict=True):
            member.load_training_state(own, _part_of(mask, span))


def _part_of(mask: HeadMask | None, span: slice) -> HeadMask | None:
    """Give the mask of a group's weights; None where all of them count."""
    if mask is None or span.stop <= mask.first_masked:
        return None
    keep = mask.keep[:, span]
    if keep.all():
        return None
    return HeadMask(keep, int((~keep).any(dim=0).int().argmax()))
