"""A vision transformer of 0.3 million weights for small images: torchvision's class."""

from torchvision.models import VisionTransformer


def small_vit(config, input_shape, num_outputs):
    """Make a network for (B, 3, 32, 32): 16 patches, 4 layers."""
    hidden, mlp = config.hidden_sizes  # numbers for each patch, and between the two MLP layers
    return VisionTransformer(
        image_size=input_shape[-1],
        patch_size=8,
        num_layers=4,
        num_heads=3,
        hidden_dim=hidden,
        mlp_dim=mlp,
        num_classes=num_outputs,
    )


small_vit.SETTINGS = {"hidden_sizes": (96, 192)}  # the settings of `target` that it has
