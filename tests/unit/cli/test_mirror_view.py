"""What `tune` says of the mirror in the end: nothing that may have become untrue."""

from __future__ import annotations

from rich.console import Console

from tunectl.cli.mirror import mirror_view
from tunectl.running.mirroring import MirrorEnd
from tunectl.tracking.mirror import MirrorReport

REPORT = MirrorReport(
    experiment_id="1", parent_run_id="the-parent", best_run_id="the-best", n_runs=2, n_written=0
)


def shown(*, is_complete: bool) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        for one in mirror_view(MirrorEnd(report=REPORT, published=None, is_complete=is_complete)):
            console.print(one)
    return capture.get()


def test_the_best_trials_run_is_shown_only_if_it_is_known_to_be_the_best() -> None:
    whole, partial = shown(is_complete=True), shown(is_complete=False)

    assert "the-parent" in whole and "the-best" in whole
    assert "the-parent" in partial and "the-best" not in partial
