"""The percentile that the pruners compare with is NumPy's, to the bit."""

from __future__ import annotations

import math
import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tunectl.search.percentile import _Column

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


@given(
    values=st.lists(NUMBERS | st.floats(0.1, 0.9), max_size=30),
    later=st.lists(st.floats(0.0, 1.0), max_size=3),
    share=st.floats(0.0, 100.0) | st.sampled_from([0.0, 25.0, 50.0, 100.0]),
)
def test_a_percentile_is_that_of_numpy(
    values: list[float], later: list[float], share: float
) -> None:
    column = _Column()
    for given_values in (values, later):  # asked in between, as beside other workers
        for value in given_values:
            column.add(value)
        found = column.percentile(share)
    assert column.count == len(values) + len(later)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # nothing but NaN, or infinities that meet
        wanted = float(np.nanpercentile([*values, *later] or [math.nan], share))
    assert found == wanted or (math.isnan(found) and math.isnan(wanted))
