"""Optuna's own analysis of a sweep's study: which parameters mattered, its plots."""

import warnings
from pathlib import Path

import matplotlib
import optuna
from matplotlib import pyplot
from optuna.study import Study
from optuna.visualization import matplotlib as draw

from sweeps.output.table import Table
from sweeps.records.folder import SweepFolder
from sweeps.study.storage import open_storage

MIN_TRIALS = 4  # the importance of parameters over fewer trials means nothing


def describe_study(folder: SweepFolder, output: Path) -> Table | None:
    """Rank parameters by importance, and write Optuna's plots as PNG files into `output`.

    Returns:
        The table; None where the sweep has no local study, or too few finished trials.
    """
    if not (folder.path / "study.db").exists():
        return None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name=folder.name, storage=open_storage(folder.study_url))
    done = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    if len(done) < MIN_TRIALS or len({trial.values[0] for trial in done}) == 1:
        return None
    _write_plots(study, folder.name, output)
    # Seeded, because the forest that it fits is random.
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(
        study, evaluator=evaluator, target=lambda trial: trial.values[0]
    )
    columns = {
        "parameter": list(shares),
        "importance": [f"{share:.2f}" for share in shares.values()],
    }
    note = f"share of the variance of the first objective (fANOVA), {len(done)} finished trials"
    return Table.from_columns(f"Importance of the parameters of {folder.name}", columns, [note])


def _write_plots(study: Study, name: str, output: Path) -> None:
    matplotlib.use("Agg")
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
