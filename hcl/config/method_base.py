"""The base of every method's settings (torch-free)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

ScenarioName = Literal["task", "domain", "class"]
ALL: tuple[str, ...] = ("task", "domain", "class")


@dataclass(frozen=True)
class MethodConfig:
    """The base of a method's settings: one field for each, with its default and its bounds.

    A field's name is the key in a YAML file (`method/NAME`), in MLflow and in tables.

    Attributes:
        name: the method's registry key, or its import path.
        LABEL: the method's name in tables; every method sets it.
        SCENARIOS: scenarios that the method can be trained in.
        WHY_NOT: why it cannot be trained in the others, for the error message.
        ALSO_SCORES: training scenario -> further scenarios that the same training is scored in.
        REGRESSION: it can learn numbers, not only classes.
        INFERS_TASK: where the task is not given, it says which one an input is from.
        BATCH_NORM: ways that it can keep batch norm's running statistics.
        REPLICAS: several seeds can be trained as a batch.
    """

    LABEL: ClassVar[str]
    SCENARIOS: ClassVar[tuple[str, ...]] = ALL
    WHY_NOT: ClassVar[str] = ""
    ALSO_SCORES: ClassVar[dict[str, tuple[str, ...]]] = {}
    REGRESSION: ClassVar[bool] = False
    INFERS_TASK: ClassVar[bool] = False
    BATCH_NORM: ClassVar[tuple[str, ...]] = ("per_task", "shared")
    REPLICAS: ClassVar[bool] = False

    name: str = ""

    @classmethod
    def label(cls, scenario: str) -> str:
        """Return the method's name in the tables of a scenario."""
        return cls.LABEL

    def no_replicas(self) -> str:
        """Say why several seeds cannot be trained as a batch; empty where they can."""
        return "" if self.REPLICAS else "trains one seed at a time"

    def check(self, num_tasks: int) -> list[str]:
        """Return problems that concern several settings at once, `key: sentence` each."""
        return []
