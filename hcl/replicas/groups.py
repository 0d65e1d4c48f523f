"""Groups of trials that can be trained together as replicas. Torch-free."""

from collections.abc import Sequence

from hcl.config import SPEED_ONLY, ConfigError, TrialConfig

MAY_DIFFER = ("seed", "method/beta", "train/lr")


def group_replicas(configs: Sequence[TrialConfig]) -> list[list[int]]:
    """Group the indices of trials that differ as replicas may, up to `train/num_replicas` each."""
    alike: dict[str, list[int]] = {}
    for i, config in enumerate(configs):
        alike.setdefault(str(_shared(config)), []).append(i)
    found = []
    for same in alike.values():
        size = configs[same[0]].train.num_replicas
        found += [same[i : i + size] for i in range(0, len(same), size)]
    return found


def check_replicas(configs: Sequence[TrialConfig]) -> None:
    """Refuse trials that cannot be trained together.

    Raises:
        ConfigError: with the method or setting that trains one seed at a time, or what differs.
    """
    first = configs[0]
    if why := first.no_replicas():
        raise ConfigError([f"{reason}; train them one after the other" for reason in why])
    mine = _shared(first)
    for other in map(_shared, configs[1:]):
        keys = sorted(key for key in mine.keys() | other.keys() if mine.get(key) != other.get(key))
        if keys:
            raise ConfigError(
                f"replicas may differ only in {', '.join(MAY_DIFFER)}, but {', '.join(keys)}"
                " differ too; train them one after the other"
            )


def _shared(config: TrialConfig) -> dict[str, object]:
    skip = (*MAY_DIFFER, *SPEED_ONLY)
    return {key: value for key, value in config.to_dict().items() if key not in skip}
