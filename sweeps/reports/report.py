"""The tables of a sweep whose runs are read from MLflow."""

from hcl.config import ConfigError
from sweeps.reports.sweep_tables import form_of, written_tables
from sweeps.tracking import Store, runs_frame, sweep_settings


def report(sweep: str, store: Store, form: str = "markdown") -> str:
    """Write the tables of one sweep, with the command that made it.

    Args:
        sweep: the sweep's name.
        store: where its runs are.
        form: a key of `sweeps.reports.sweep_tables.FORMS`.

    Raises:
        ConfigError: there is no such sweep or form; one sentence.
    """
    form_of(form)
    frame = runs_frame(store, sweep)
    if frame.empty:
        known = sorted(set(runs_frame(store).get("tags.sweep", [])))
        there = f"sweeps there: {', '.join(known)}" if known else "no sweep is there"
        raise ConfigError(f"no runs of a sweep {sweep!r} in {store.shown_uri}; {there}")
    return written_tables(sweep, frame, sweep_settings(store, sweep), form)
