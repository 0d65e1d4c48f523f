"""Generative models that replay past tasks."""

from hcl.generators.base import ReplayModel
from hcl.generators.hnet_vae import HnetVae
from hcl.generators.plain_vae import PlainVae

__all__ = ["HnetVae", "PlainVae", "ReplayModel"]
