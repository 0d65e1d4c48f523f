"""Memory that a trial will need, computed from shapes before anything is allocated."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hcl import seeding
from hcl.benchmarks.arrays import Benchmark
from hcl.config import TrialConfig, as_trial
from hcl.hypernets import TaskHypernet
from hcl.kernels.past_features import FEATURES_AT_ONCE
from hcl.methods import Method, Setup, make_method
from hcl.scenario import make_layout
from hcl.training.process import Runtime
from hcl.training.trial_state import load_benchmark

NUMBER = 4  # bytes of a float32
ADAM = 2  # moments per trained parameter


@dataclass(frozen=True)
class ResourceNeeds:
    """Numbers and bytes in the last task of the sequence, where most is kept.

    Attributes:
        target_weights: weights of one target network.
        stored: numbers kept to make predictions (hypernetwork and embeddings).
        weight_bytes: every parameter of the method.
        optimizer_bytes: Adam's moments of the parameters trained at a time.
        kept_bytes: memory of past tasks: a regularizer's start, importances and anchors, a copy
            of an earlier network, samples.
        step_bytes: memory that a training step needs beside these: gradients, generated weights,
            activations for backward. A rough count: kernels need more or less.
        data_bytes: the benchmark's tensors.
    """

    target_weights: int
    stored: int
    weight_bytes: int
    optimizer_bytes: int
    kept_bytes: int
    step_bytes: int
    data_bytes: int

    @property
    def compression_ratio(self) -> float:
        """|Theta_h u {e}| / |Theta_trgt| of von Oswald et al. (2020), section 3."""
        return self.stored / self.target_weights

    @property
    def peak_bytes(self) -> int:
        """The sum of all parts; the libraries' own memory is not in it."""
        return (self.weight_bytes + self.optimizer_bytes + self.kept_bytes + self.step_bytes
                + self.data_bytes)  # fmt: skip


def estimate(
    config: TrialConfig | Mapping[str, Any], runtime: Runtime | None = None
) -> ResourceNeeds:
    """Compute the parameters and the memory that a trial will need, without training it.

    Args:
        config: the trial, or its settings.
        runtime: folder of the data.

    Raises:
        ConfigError: the settings are wrong, or the data are missing or damaged.
    """
    trial = as_trial(config)
    return resource_needs(trial, load_benchmark(trial, runtime))


def resource_needs(config: TrialConfig, benchmark: Benchmark) -> ResourceNeeds:
    """Compute what a trial needs, on torch's meta device: no weight is allocated.

    Args:
        config: the trial.
        benchmark: its data.
    """
    layout = make_layout(config, len(benchmark.tasks), benchmark.classes_per_task)
    with seeding.isolated(config.seed, "sizes"), torch.device("meta"):
        method = make_method(Setup(config, layout, benchmark.input_shape))
        network = method.setup.build_network()
        active = _activations(network, (config.train.batch_size, *benchmark.input_shape))
    trained = _num_trained(method)
    numbers = sum(p.numel() for p in method.parameters())
    return ResourceNeeds(
        method.num_target_weights(),
        method.num_stored(),
        NUMBER * numbers,
        NUMBER * ADAM * trained,
        _kept_bytes(method, benchmark),
        NUMBER * (trained + _generated(method) + active),
        _data_bytes(benchmark),
    )


def _hypernets(method: Method) -> list[TaskHypernet]:
    """Find the hypernetworks that are parts of a method, at any depth."""
    return [part for part in method.modules() if isinstance(part, TaskHypernet)]


def _num_trained(method: Method) -> int:
    """Count the parameters trained in the last task: of embeddings, the current one alone."""
    resting = sum(e.numel() for part in _hypernets(method) for e in part.embeddings[1:])
    return method.num_trained() - resting


def _kept_bytes(method: Method, benchmark: Benchmark) -> int:
    past_samples = [len(task.train) for task in benchmark.tasks[:-1]]
    regularizers = sum(
        _kept_by_regularizer(part, len(part.embeddings) - 1) for part in _hypernets(method)
    )
    return NUMBER * regularizers + method.kept_bytes(past_samples)


def _kept_by_regularizer(part: TaskHypernet, past: int) -> int:
    """Count the numbers that an output regularizer keeps.

    The parameters of the task's start, and room for the output layer's change; for every past task
    its embedding, the last hidden layers, and room for their change; products of these layers, one
    for each task where subsets of tasks are drawn.
    """
    if past < 1 or part.config.beta == 0:
        return 0
    hypernet = part.hypernet
    theta = sum(p.numel() for p in hypernet.theta())
    output = hypernet.output.numel()
    hidden = len(hypernet.output) - 1
    rows = past * hypernet.num_chunks * (2 * hidden + 1)
    is_subset = 0 < part.config.reg_tasks < past
    products = 2 * ((past if is_subset else 1) + 1) * (hidden + 1) ** 2
    return theta + output + rows + products + past * hypernet.embedding_size


def _generated(method: Method) -> int:
    """Count the numbers that a training step of the hypernetworks makes.

    The generated weights and their gradient; for past tasks the gradient for the last hidden layer
    of every chunk; all hidden layers of a block of chunks and their gradients; the candidate step.
    """
    numbers = 0
    for part in _hypernets(method):
        hypernet, past = part.hypernet, len(part.embeddings) - 1
        if part.config.reg_tasks:
            past = min(past, part.config.reg_tasks)
        last = len(hypernet.output) - 1
        rows = past * hypernet.num_chunks * last
        layers = sum(part.config.hidden_sizes) or last
        block = min(rows, FEATURES_AT_ONCE) * layers // last
        numbers += 2 * hypernet.num_weights + rows + 2 * block
        numbers += 2 * hypernet.output.numel()
    return numbers


def _activations(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Count the numbers that the layers of a network put out for a batch of this shape."""
    found: list[int] = []

    def note(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            found.append(output.numel())

    leaves = [m for m in network.modules() if not list(m.children())]
    hooks = [leaf.register_forward_hook(note) for leaf in leaves]
    tensors = (*network.named_parameters(), *network.named_buffers())
    weights = {name: tensor.to("meta") for name, tensor in tensors}
    with torch.no_grad():
        functional_call(network, weights, (torch.empty(shape, device="meta"),), strict=True)
    for hook in hooks:
        hook.remove()
    return math.prod(shape) + sum(found)


def _data_bytes(benchmark: Benchmark) -> int:
    """Count the bytes of all tasks' tensors; shared ones count once."""
    found: dict[int, int] = {}
    for task in benchmark.tasks:
        for data in (task.train, task.val, task.test):
            for tensor in (data.x, data.y, data.permutation):
                if tensor is not None:
                    storage = tensor.untyped_storage()
                    found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def compression_ratio(config: TrialConfig, input_shape: tuple[int, ...]) -> float:
    """Divide the numbers in hypernetwork and task embeddings by the weights that it generates.

    |Theta_h u {e}| / |Theta_trgt| of von Oswald et al. (2020), section 3; equals the metric
    `compression_ratio` of the trained trial. Built on the meta device: nothing is allocated.

    Args:
        config: a trial of a method with a hypernetwork.
        input_shape: shape of one sample, padding included.
    """
    classes = config.benchmark.classes_per_task
    layout = make_layout(config, config.benchmark.num_tasks, classes)
    with seeding.isolated(config.seed, "sizes"), torch.device("meta"):
        method = make_method(Setup(config, layout, input_shape))
    return method.num_stored() / method.num_target_weights()
