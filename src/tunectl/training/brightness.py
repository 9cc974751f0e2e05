"""Brightness correction of images, each by itself; needs numpy, nothing else.

`equalize` spreads the grey values so that their histogram is level. `clahe` does so tile by tile
and limits how steep that may become, so that noise in even areas is not raised: K. Zuiderveld,
"Contrast limited adaptive histogram equalization", Graphics Gems IV, 1994. Of coloured images the
luminance is corrected, and the colours keep their proportions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BINS = 256
LUMINANCE = (0.299, 0.587, 0.114)
SMALLEST_TILE = 4


def correct(images: Array, plan: dict[str, Any]) -> Array:
    """Return corrected images (N, C, H, W), 32-bit floats from 0 to 1.

    Args:
        images: (N, C, H, W), of any numbers.
        plan: `method`, and for clahe `clip` (how many times the even share a bin may hold) and
            `tiles` (along each side; fewer where they would be smaller than four pixels).
    """
    corrected = np.empty(images.shape, np.float32)
    for index, image in enumerate(images):
        pixels = np.asarray(image, np.float64)
        low, high = pixels.min(), pixels.max()
        pixels = (pixels - low) / (high - low) if high > low else np.zeros_like(pixels)
        if len(pixels) == len(LUMINANCE):
            grey = np.tensordot(LUMINANCE, pixels, axes=1)
            gain = _spread(grey, plan) / np.maximum(grey, 1e-6)
            corrected[index] = np.clip(pixels * gain, 0, 1)
        else:
            corrected[index] = [_spread(channel, plan) for channel in pixels]
    return corrected


def _spread(grey: Array, plan: dict[str, Any]) -> Array:
    """Return one channel (H, W) of values from 0 to 1 with a level histogram."""
    bins = np.minimum((grey * BINS).astype(np.int64), BINS - 1)
    if plan["method"] == "equalize":
        return _levels(np.bincount(bins.ravel(), minlength=BINS), None)[bins]
    height, width = grey.shape
    rows, columns = (max(1, min(plan["tiles"], n // SMALLEST_TILE)) for n in (height, width))
    row_edges, column_edges = (
        np.linspace(0, size, count + 1).astype(int)
        for size, count in ((height, rows), (width, columns))
    )
    levels = np.empty((rows, columns, BINS))
    for i in range(rows):
        for j in range(columns):
            tile = bins[row_edges[i] : row_edges[i + 1], column_edges[j] : column_edges[j + 1]]
            counts = np.bincount(tile.ravel(), minlength=BINS)
            levels[i, j] = _levels(counts, plan["clip"])
    return _between_tiles(levels, bins, row_edges, column_edges)


def _levels(counts: Array, clip: float | None) -> Array:
    """Return the new value of each bin: the share of pixels up to it, from 0 to 1.

    With a limit, what is above it is spread over all bins, so that an even area stays even.
    """
    total = counts.sum()
    share: Array
    if clip is None:
        share = np.cumsum(counts)
        first = share[np.argmax(counts > 0)]
        share = (share - first) / max(total - first, 1)
        return share
    clipped = np.minimum(counts, max(1.0, clip * total / BINS))
    share = np.cumsum(clipped + (total - clipped.sum()) / BINS) / total
    return share


def _between_tiles(levels: Array, bins: Array, row_edges: Array, column_edges: np.ndarray) -> Array:
    """Interpolate between the levels of the four nearest tiles' centres."""
    above, below, down = _neighbours(bins.shape[0], row_edges)
    left, right, across = _neighbours(bins.shape[1], column_edges)
    down, across = down[:, None], across[None, :]
    upper = (1 - across) * levels[above[:, None], left[None], bins]
    upper += across * levels[above[:, None], right[None], bins]
    lower = (1 - across) * levels[below[:, None], left[None], bins]
    lower += across * levels[below[:, None], right[None], bins]
    between: Array = (1 - down) * upper + down * lower
    return between


def _neighbours(size: int, edges: Array) -> tuple[Array, Array, Array]:
    """Return for each position the tiles before and after it, and how far it is between them."""
    centres = (edges[:-1] + edges[1:] - 1) / 2
    positions = np.arange(size)
    after = np.clip(np.searchsorted(centres, positions), 0, len(centres) - 1)
    before = np.clip(np.searchsorted(centres, positions, side="right") - 1, 0, len(centres) - 1)
    distance = np.maximum(centres[after] - centres[before], 1e-12)
    return before, after, np.clip((positions - centres[before]) / distance, 0, 1)
