"""tunectl: hyperparameter studies that nothing can spoil."""

__version__ = "0.1.0"
