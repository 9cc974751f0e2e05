"""The names of the kinds of figure, apart from all that draws them: a shell completes them."""

from __future__ import annotations

from enum import StrEnum


class KindName(StrEnum):
    """A kind of figure, as `plots --only` and file names have it; in the order of drawing."""

    HISTORY = "history"
    IMPORTANCES = "importances"
    PARALLEL = "parallel"
    SLICE = "slice"
    CONTOUR = "contour"
    RANK = "rank"
    INTERMEDIATE = "intermediate"
    EDF = "edf"
    TIMELINE = "timeline"
    PARETO = "pareto"
    LEARNING_CURVES = "learning-curves"
    PREDICTED = "predicted"
    RESIDUALS = "residuals"
    CONFUSION = "confusion"


class Importance(StrEnum):
    """How importances are worked out."""

    PED_ANOVA = "ped-anova"
    FANOVA = "fanova"


class Format(StrEnum):
    """A kind of file that figures are written as."""

    PNG = "png"
    SVG = "svg"
    PDF = "pdf"
    HTML = "html"
