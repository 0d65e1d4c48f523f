"""What Optuna itself can say of a sweep's study: which parameters mattered, the Pareto front."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.output.table import Table
from sweeps.records.folder import SweepFolder

if TYPE_CHECKING:
    from optuna.study import Study

MIN_TRIALS = 4  # fewer say nothing


def describe_study(folder: SweepFolder, output: Path) -> Table | None:
    """Parameter importances as a table, and Optuna's plots as PNG files in `output`.

    None where the sweep has no local study, or too few finished trials.
    """
    if not (folder.path / "study.db").exists():
        return None
    import optuna

    from sweeps.study.storage import open_storage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name=folder.name, storage=open_storage(folder.study_url))
    done = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    if len(done) < MIN_TRIALS or len({trial.values[0] for trial in done}) == 1:
        return None
    _plots(study, folder.name, output)
    # Seeded: the forest that it fits is random.
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(
        study, evaluator=evaluator, target=lambda trial: trial.values[0]
    )
    rows = tuple((name, f"{share:.2f}") for name, share in found.items())
    notes = (f"share of the first objective's variance (fANOVA), {len(done)} finished trials",)
    return Table(f"What mattered in {folder.name}", ("parameter", "importance"), rows, notes)


def _plots(study: Study, name: str, output: Path) -> None:
    import warnings

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as draw

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls its matplotlib plots experimental
        if len(study.directions) > 1:
            axes = {"pareto": draw.plot_pareto_front(study)}
        else:
            axes = {
                "history": draw.plot_optimization_history(study),
                "importance": draw.plot_param_importances(study),
            }
    output.mkdir(parents=True, exist_ok=True)
    for kind, axis in axes.items():
        figure = axis.get_figure(root=True)
        if figure is not None:
            figure.savefig(output / f"{name}-{kind}.png", dpi=130, bbox_inches="tight")
    pyplot.close("all")
