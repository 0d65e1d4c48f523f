"""Initial values of a hypernetwork that depend on the tensors it generates.

`Hypernet` starts Xavier-uniform without knowing them. What is here then replaces its values.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcl.hypernets.hypernet import Hypernet

LOW_RANK = 0.1  # size of a low-rank change at the start, in units of an ordinary network's weights


class TargetTensor(NamedTuple):
    """A generated tensor, as far as initial values depend on it.

    Attributes:
        size: how many numbers it has.
        fan_in: inputs of each unit of its layer.
        gain: fan_in * Var(W) in an ordinary network: 2 with ReLUs (Kaiming), else 1 (Xavier).
        is_bias: whether it is a bias. Every vector counts as one, as in the authors' code.
        has_bias: whether the bias of its layer is generated, too.
        rank: of the low-rank change that it is a factor of; 0 for a tensor that is none.
    """

    size: int
    fan_in: int
    gain: float
    is_bias: bool
    has_bias: bool
    rank: int = 0


def initialise_(
    hypernet: Hypernet, init: str, embeddings: Tensor, tensors: Sequence[TargetTensor]
) -> None:
    """Give a new hypernetwork the values of `method/init`.

    Args:
        hypernet: as its constructor left it, which is all that "xavier" and "torch" need.
        init: the setting.
        embeddings: (T, embedding_size), those of the tasks; they are only read.
        tensors: the generated tensors, in the order of the weights.
    """
    if init == "xavier_per_tensor" and hypernet.num_chunks == 1:
        xavier_per_tensor_(hypernet, tensors)
    elif init == "hyperfan":
        hyperfan_(hypernet, embeddings, tensors)


@torch.no_grad()
def xavier_per_tensor_(hypernet: Hypernet, tensors: Sequence[TargetTensor]) -> None:
    """Draw the output layer as if it were one Xavier-uniform layer for each generated tensor.

    Full hypernetworks have such layers in the code of von Oswald et al.
    (toy_example/hyper_model.py). The range of a single layer for all tensors would be narrower,
    because it shrinks with the number of outputs.
    """
    ends = accumulate(tensor.size for tensor in tensors)
    for tensor, end in zip(tensors, ends, strict=True):
        nn.init.xavier_uniform_(hypernet.output[:-1, end - tensor.size : end])


@torch.no_grad()
def hyperfan_(hypernet: Hypernet, embeddings: Tensor, tensors: Sequence[TargetTensor]) -> None:
    """Draw a hypernetwork whose generated weights have the variances that suit the target.

    This is hyperfan-in of Chang, Flokas & Lipson (2020), Table 1. With phi the last hidden layer,
    a generated weight is V phi, and its variance Var(V) ||phi||^2. The paper takes ||phi||^2 from
    the variance of the embeddings; here it is measured, so that any activation and width will do.

    A full hypernetwork has columns of V for each tensor. Chunks share V: there the size of a
    chunk's embedding sets its variance, after Henning et al.'s `apply_chunked_hyperfan_init`
    (mnist/chunked_hyper_model.py of the authors' code).
    """
    _, *hidden, output = hypernet.theta()
    for weight, bias in zip(hidden[::2], hidden[1::2], strict=True):
        is_relu = hypernet.activation == "relu"
        nn.init.kaiming_uniform_(weight, nonlinearity="relu" if is_relu else "linear")
        nn.init.zeros_(bias)
    if hypernet.num_chunks == 1:
        wanted = _per_weight([full_variance(t) for t in tensors], tensors)  # (num_weights,)
    else:
        wanted = _scale_chunks(hypernet, embeddings, tensors).mean()
    power = hypernet.features(embeddings)[..., :-1].square().sum(-1).mean()  # ||phi||^2
    bound = (3 * wanted / power).sqrt()  # a uniform distribution's variance is bound^2 / 3
    bound = torch.where(power > 0, bound, 0.0)  # every unit is dead: V makes no difference
    output[:-1].uniform_(-1, 1).mul_(bound)
    output[-1] = 0.0


def full_variance(tensor: TargetTensor) -> float:
    """Compute the variance that hyperfan-in gives to a generated tensor.

    A generated bias takes over half of the variance of its layer's outputs.
    """
    if tensor.rank:
        return factor_variance(tensor)
    if tensor.is_bias:
        return tensor.gain / 2
    return tensor.gain / tensor.fan_in / (2 if tensor.has_bias else 1)


def chunk_variance(tensor: TargetTensor) -> float:
    """Compute the variance that the authors' chunked form wants for a tensor.

    Weights have that of an ordinary network, biases that of torch's layers, 1 / (3 fan_in).
    """
    if tensor.rank:
        return factor_variance(tensor)
    return 1 / (3 * tensor.fan_in) if tensor.is_bias else tensor.gain / tensor.fan_in


def factor_variance(tensor: TargetTensor) -> float:
    """Compute the variance v of both factors of a low-rank change.

    W + up @ down starts near W: rank v^2 = LOW_RANK^2 gain / fan_in. A factor of 0, as in LoRA
    itself (Hu et al., 2022), is not to be had from a layer that generates the other one too.
    """
    return LOW_RANK * (tensor.gain / tensor.fan_in / tensor.rank) ** 0.5


def _scale_chunks(
    hypernet: Hypernet, embeddings: Tensor, tensors: Sequence[TargetTensor]
) -> Tensor:
    """Scale the chunk embeddings; return the variance of the weights in each chunk, (K,).

    A chunk with weights of several tensors has the mean of their variances. With hidden layers
    that keep the variance of their inputs, that of a chunk is in proportion to

        n_e Var(e) + n_c Var(c)

    for n_e numbers of the task embedding and n_c of the chunk embedding. The authors choose Var(c)
    so that this is the variance itself, and clip it where Var(e) is too large, as N(0, 1) nearly
    always is. Here V carries the scale, and Var(c) = Var(e) in the chunk of least variance.
    """
    shape = (hypernet.num_chunks, hypernet.chunk_size)
    wanted = _per_weight([chunk_variance(t) for t in tensors], tensors).to(embeddings)
    surplus = shape[0] * shape[1] - hypernet.num_weights
    per_chunk = F.pad(wanted, (0, surplus), value=torch.nan).view(shape).nanmean(dim=1)
    num_chunk, num_task = hypernet.chunk_embeddings.shape[1], hypernet.embedding_size
    ratio = per_chunk / per_chunk.min()
    variance = ((num_task + num_chunk) * ratio - num_task) / num_chunk * embeddings.square().mean()
    hypernet.chunk_embeddings.mul_(variance.sqrt()[:, None])
    return per_chunk


def _per_weight(values: Sequence[float], tensors: Sequence[TargetTensor]) -> Tensor:
    """Repeat each tensor's value for all its weights: (num_weights,)."""
    pairs = zip(tensors, values, strict=True)
    return torch.cat([torch.full((tensor.size,), value) for tensor, value in pairs])
