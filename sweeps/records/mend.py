"""Repair of a damaged journal: its whole lines stay, and what was lost is made again."""

import time
from collections.abc import Sequence
from typing import Any

from sweeps.records.journal import Damage, Journal
from sweeps.records.record import ENDS


def mend(
    journal: Journal,
    start: dict[str, Any],
    tasks: Sequence[dict[str, Any]],
    end: dict[str, Any] | None,
) -> list[Damage]:
    """Set a damaged journal aside, beside a new one that has every record which is known.

    The damaged one stays as `journal.jsonl.damaged-1`, and a record "mended" says so. The caller
    has locked the seed's folder.

    Args:
        journal: may be damaged or whole.
        start: fields of its "start".
        tasks: fields of a "task" for each task that will not be trained again.
        end: fields of its "end" if the seed has a result.

    Returns:
        The damaged lines; none where the journal was whole and is left alone.
    """
    records, damages = journal.scan()
    if not damages:
        return []
    now = time.time()
    kept_as = journal.next_name()
    first = [record for record in records if record["kind"] == "start"][:1]
    # The run begins no later than what is left of it.
    began = min([now, *(record["time"] for record in records)])
    whole = first or [{"kind": "start", "time": began, **start}]
    lines = [damage.line for damage in damages]
    whole.append({"kind": "mended", "time": now, "lines": lines, "kept_as": kept_as})
    whole += _with_lost_tasks([r for r in records if r["kind"] != "start"], tasks, now)
    if end is not None and whole[-1]["kind"] != "end":
        whole.append({"kind": "end", "time": now, **end})
    journal.replace(whole, kept_as)
    return damages


def _with_lost_tasks(
    records: list[dict[str, Any]], tasks: Sequence[dict[str, Any]], now: float
) -> list[dict[str, Any]]:
    """Add the tasks that no record tells of, before the end if there is one."""
    told = {record["tasks_learned"] for record in records if record["kind"] == "task"}
    lost = [
        {"kind": "task", "time": now, **task}
        for task in tasks
        if task["tasks_learned"] not in told
    ]
    is_ended = bool(records) and records[-1]["kind"] in ENDS
    at = len(records) - is_ended
    return [*records[:at], *lost, *records[at:]]
