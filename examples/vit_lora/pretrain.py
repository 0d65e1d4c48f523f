"""Pretrain the small ViT and write its weights into the data root, where trials find them."""

from pathlib import Path

import torch
import yaml

import hcl
from hcl.storage.files import resolve_root

if __name__ == "__main__":
    settings = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
    result = hcl.run(settings, progress=print)
    file = resolve_root(None) / "small_vit.pt"
    torch.save(result.learner.module(0).state_dict(), file)
    print(file, "has accuracy", result.metrics["test/task/average_accuracy"])
