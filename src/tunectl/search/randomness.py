"""Where the randomness of a trial comes from: the study's seed, the trial's number, a name.

Each parameter that a sampler draws on its own has a seed of its own, so that its value does not
depend on which others were drawn before it in the same process.
"""

from __future__ import annotations

import numpy as np
from optuna.samplers import BaseSampler
from optuna.samplers._lazy_random_state import LazyRandomState


def seed_of_trial(seed: int, number: int) -> int:
    """Return the 32-bit seed of a trial, spread by NumPy's `SeedSequence`."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def seed_of_draw(seed: int, number: int, name: str) -> int:
    """Return the 32-bit seed of one parameter of a trial."""
    # The name as one large number, since Python's own hash differs from process to process.
    spelt = int.from_bytes(name.encode(), "big")
    return int(np.random.SeedSequence([seed, number, spelt]).generate_state(1)[0])


def reseed(sampler: BaseSampler, seed: int) -> None:
    """Seed a sampler of Optuna's again, and the samplers that it draws from.

    Making a new one would take ten times as long, which counts for a dozen parameters. A sampler
    of someone else's, which keeps its randomness elsewhere, stays as it is.
    """
    for part in vars(sampler).values():
        if isinstance(part, LazyRandomState):
            part.rng.seed(seed)
        elif isinstance(part, BaseSampler):
            reseed(part, seed)
