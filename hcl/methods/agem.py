"""Averaged gradient episodic memory."""

import torch
from torch import Tensor

from hcl.config.rehearsal import AGemConfig
from hcl.methods.rehearsal import Rehearsal


class AGem(Rehearsal):
    """A-GEM (Chaudhry et al., ICLR 2019), eq. 11: no step that raises the loss of the past.

    With g the gradient of the current batch and r that of a batch of as many kept samples, the
    step is along g if g.r >= 0, else along g - (g.r / r.r) r. Kept samples are this reference
    alone, no part of the loss. They count over their own head in the task scenario, else over all
    outputs seen so far. The optimizer is Adam as everywhere here, where the paper has SGD. The
    paper's memory is a ring of each class's last samples; `keep` says what ours is.
    """

    config: AGemConfig

    def policy(self) -> str:
        return self.config.keep

    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        if self.task_id == 0:
            return super().train_step(x, y)
        parameters = list(self.network.parameters())
        loss = self.losses(x, y)["task"]
        grads = torch.autograd.grad(loss, parameters)
        reference = self.replay_cross_entropy(*self.replay(len(x), x.dtype))
        past = torch.autograd.grad(reference, parameters)
        for parameter, grad in zip(parameters, project(grads, past), strict=True):
            parameter.grad = grad
        self.optimizer.step()
        return {"task": loss.detach(), "reference": reference.detach()}


def project(grads: tuple[Tensor, ...], past: tuple[Tensor, ...]) -> list[Tensor]:
    """Turn a gradient so far that its product with another one is not negative.

    Without a branch on the device's values, which would wait for it.

    Args:
        grads: g, of each parameter.
        past: r, of each parameter.
    """
    product = torch.stack([(g * r).sum() for g, r in zip(grads, past, strict=True)]).sum()
    size = torch.stack([r.square().sum() for r in past]).sum()
    share = product.clamp_max(0) / size.clamp_min(1e-30)
    return [g - share * r for g, r in zip(grads, past, strict=True)]
