"""Pictures of a comparison: curves over tasks, and Optuna's own analysis of a sweep's study."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import optuna
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure
from optuna.study import Study
from optuna.visualization import matplotlib as draw

from hcl.metrics import running_average_accuracy
from sweeps.output import plots
from sweeps.output.table import Table
from sweeps.records.folder import SweepFolder
from sweeps.reports.compare import Compared
from sweeps.study.storage import open_storage

MIN_TRIALS = 4  # the importance of parameters over fewer trials means nothing


def curves(compared: Compared, matrices_of: Callable[[pd.Series], Any]) -> dict[str, Figure]:
    """Draw the average accuracy after each task, a figure for each row.

    Args:
        compared: from `runs_to_compare`.
        matrices_of: reads the accuracy matrices of a run, given as its row of the frame.
    """
    drawn = {}
    for row, methods in compared.items():
        lines = {
            label: [
                running_average_accuracy(matrices_of(run)[f"test/{row.scenario}"])
                for _, run in group.iterrows()
            ]
            for label, group in methods.items()
        }
        figure = plots.average_accuracy_curves(lines)
        figure.suptitle(str(row), fontsize=10)
        order = f"-{row.order.replace(' ', '_')}" if row.order else ""
        drawn[f"{row.benchmark}-{row.num_tasks}-{row.scenario}{order}"] = figure
    return drawn


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
