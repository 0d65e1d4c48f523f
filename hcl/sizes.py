"""What a trial will store, known from shapes before it is trained."""

import torch

from hcl import seeding
from hcl.config import TrialConfig
from hcl.methods import METHODS, Setup
from hcl.task import make_layout


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
