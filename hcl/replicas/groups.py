"""Which trials can be trained together, as a batch. Torch-free."""

from collections.abc import Sequence

from hcl.config import SPEED_ONLY, ConfigError, TrialConfig

MAY_DIFFER = ("seed", "method/beta", "train/lr")


def lots(configs: Sequence[TrialConfig]) -> list[list[int]]:
    """Indices of the trials to train at a time: each its own, or up to `train/num_replicas`."""
    alike: dict[str, list[int]] = {}
    for i, config in enumerate(configs):
        alike.setdefault(str(_shared(config)), []).append(i)
    found = []
    for same in alike.values():
        size = configs[same[0]].train.num_replicas
        found += [same[i : i + size] for i in range(0, len(same), size)]
    return found


def check_lot(configs: Sequence[TrialConfig]) -> None:
    """Refuse trials that cannot be trained as a batch.

    Raises:
        ConfigError: names the method, or what differs.
    """
    first = configs[0]
    if len(configs) > 1 and (why := first.no_replicas()):
        raise ConfigError([f"{reason}; train them one after the other" for reason in why])
    mine = _shared(first)
    for other in map(_shared, configs[1:]):
        keys = sorted(key for key in mine.keys() | other.keys() if mine.get(key) != other.get(key))
        if keys:
            raise ConfigError(
                f"replicas may differ in {', '.join(MAY_DIFFER)} alone, but {', '.join(keys)}"
                " differ too; train them one after the other"
            )


def _shared(config: TrialConfig) -> dict[str, object]:
    skip = (*MAY_DIFFER, *SPEED_ONLY)
    return {key: value for key, value in config.to_dict().items() if key not in skip}
