"""What all objectives of the user's own have in common: tunectl knows nothing of what they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunectl.config.search_schema import Direction


class OwnCode:
    """An objective whose trials are a function, a program or a script of the user's."""

    @property
    def metrics(self) -> Mapping[str, Direction] | None:
        """Whatever it returns, leaves or tells."""
        return None

    @property
    def epoch_metrics(self) -> Sequence[str]:
        """Whatever it reports."""
        return ()

    @property
    def needs_device(self) -> bool:
        """What wants a device asks for it, or is told its name as it is asked for."""
        return False

    @property
    def leaves_network(self) -> bool:
        """What it leaves is its own affair."""
        return False
