"""Merging layers as OmegaConf merges them."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from tunectl.config.interpolation import merge

keys = st.sampled_from("abcd")
scalars = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(0, 1) | st.text("xy", max_size=2)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
layers = st.lists(st.dictionaries(keys, values, max_size=4), min_size=1, max_size=3)


def without(lower: dict[str, Any], upper: dict[str, Any]) -> None:
    """Take out of `lower` what OmegaConf would refuse to replace."""
    for key, value in upper.items():
        below = lower.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            without(below, value)
        else:
            lower.pop(key, None)


@given(layers)
def test_layers_are_merged_as_omegaconf_does_it(given_layers: list[dict[str, Any]]) -> None:
    theirs = copy.deepcopy(given_layers)
    for index, layer in enumerate(theirs):
        for lower in theirs[:index]:
            without(lower, layer)
    expected = OmegaConf.to_container(OmegaConf.merge(*map(OmegaConf.create, theirs)))

    merged = merge(copy.deepcopy(given_layers))

    assert repr(merged) == repr(expected)  # the order of the keys as well
