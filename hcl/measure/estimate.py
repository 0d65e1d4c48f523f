"""What a trial will need, computed from shapes before anything of it is made."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hcl import seeding
from hcl.benchmarks.arrays import Benchmark
from hcl.config import TrialConfig
from hcl.hypernets import TaskHypernet
from hcl.kernels.past_features import FEATURES_AT_ONCE
from hcl.methods import METHODS, Method, Setup
from hcl.methods.er import ER
from hcl.methods.ewc import EWC, OnlineEWC
from hcl.methods.from_scratch import FromScratch
from hcl.methods.hnet import Hnet
from hcl.methods.replay import Replay
from hcl.methods.si import SI
from hcl.replay import HnetVae
from hcl.scenario import make_layout

NUMBER = 4  # bytes of a float32
ADAM = 2  # moments per trained parameter


@dataclass(frozen=True)
class Estimate:
    """Counts of numbers and bytes, in the last task of the sequence, where most is kept.

    Attributes:
        target_weights: of one target network.
        stored: numbers kept to make predictions (hypernetwork and embeddings).
        weight_bytes: every parameter of the method.
        optimizer_bytes: Adam's moments of what is trained at a time.
        kept_bytes: what the method holds on to of past tasks: a regularizer's start, importances
            and anchors, a network of a task ago, samples.
        step_bytes: of one training step beside these: gradients, generated weights, activations
            that backward needs. Estimated: kernels need more or less.
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
        """Estimated, without the libraries' own memory."""
        return (self.weight_bytes + self.optimizer_bytes + self.kept_bytes + self.step_bytes
                + self.data_bytes)  # fmt: skip


def estimate(config: TrialConfig, benchmark: Benchmark) -> Estimate:
    """Compute it on the meta device: no weight is allocated, whatever the size.

    Args:
        config: the trial.
        benchmark: its data.
    """
    layout = make_layout(config, len(benchmark.tasks), benchmark.classes_per_task)
    with seeding.isolated(config.seed, "sizes"), torch.device("meta"):
        method = METHODS[config.method_name](Setup(config, layout, benchmark.input_shape))
        network = method.setup.build_network()
        active = _activations(network, (config.train.batch_size, *benchmark.input_shape))
    trained = _trained(method)
    numbers = sum(p.numel() for p in method.parameters())
    return Estimate(
        method.num_target_weights(),
        method.num_stored(),
        NUMBER * numbers,
        NUMBER * ADAM * trained,
        _kept_bytes(method, config, benchmark),
        NUMBER * (trained + _generated(method) + active),
        _data_bytes(benchmark),
    )


def _trained(method: Method) -> int:
    """Parameters that one optimizer or another steps at a time."""
    numbers = sum(p.numel() for p in method.parameters())
    if isinstance(method, FromScratch):
        return numbers // len(method.networks)
    if isinstance(method, Hnet):  # what tasks share rests after the first
        numbers -= sum(p.numel() for p in method.shared)
    for part in method.modules():
        if isinstance(part, TaskHypernet):  # the other tasks' embeddings rest
            numbers -= sum(e.numel() for e in part.embeddings[1:])
    return numbers


def _kept_bytes(method: Method, config: TrialConfig, benchmark: Benchmark) -> int:
    past = len(benchmark.tasks) - 1
    numbers = sum(
        _kept_by_regularizer(part, len(part.embeddings) - 1)
        for part in method.modules()
        if isinstance(part, TaskHypernet)
    )
    network = sum(p.numel() for p in method.parameters())
    if isinstance(method, OnlineEWC):
        numbers += 2 * network if past else 0
    elif isinstance(method, EWC):
        numbers += 2 * network * past
    elif isinstance(method, SI):
        numbers += 3 * network
    elif isinstance(method, Replay):
        numbers += sum(p.numel() for p in method.network.parameters()) if past else 0
    for part in method.modules():
        if isinstance(part, HnetVae):
            numbers += part.decoder.num_weights * past
    sizes = [len(task.train) for task in benchmark.tasks[:-1]]
    samples = min(method.config.buffer_size, sum(sizes)) if isinstance(method, ER) else 0
    return NUMBER * numbers + samples * (math.prod(benchmark.input_shape) + 8)


def _kept_by_regularizer(part: TaskHypernet, past: int) -> int:
    """Its start: parameters, the room for the output layer's change, and for every past task
    embedding and last hidden layers with room for their change; these layers' products, of every
    task where subsets are drawn."""
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
    """Numbers that a step of a hypernetwork makes: weights with their gradient; for past tasks the
    gradient for the last hidden layer of every chunk; all hidden layers of a block of chunks with
    their gradients; the candidate step."""
    numbers = 0
    for part in method.modules():
        if isinstance(part, TaskHypernet):
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
    """Numbers that the layers of a network put out for a batch."""
    found: list[int] = []

    def note(module: nn.Module, inputs: object, output: object) -> None:
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
    """Of all tasks, what they share once."""
    found: dict[int, int] = {}
    for task in benchmark.tasks:
        for data in (task.train, task.val, task.test):
            for tensor in (data.x, data.y, data.permutation):
                if tensor is not None:
                    storage = tensor.untyped_storage()
                    found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def compression_ratio(config: TrialConfig, input_shape: tuple[int, ...]) -> float:
    """Numbers in the hypernetwork and all task embeddings, per weight of what it generates.

    |Theta_h u {e}| / |Theta_trgt| of von Oswald et al. (2020), section 3; equals the metric
    `compression_ratio` of the trained trial. Built on the meta device: nothing is allocated.

    Args:
        config: of a method with a hypernetwork.
        input_shape: of one sample, padding included.
    """
    classes = config.benchmark.classes_per_task
    layout = make_layout(config, config.benchmark.num_tasks, classes)
    with seeding.isolated(config.seed, "sizes"), torch.device("meta"):
        method = METHODS[config.method_name](Setup(config, layout, input_shape))
    return method.num_stored() / method.num_target_weights()
