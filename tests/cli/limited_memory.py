"""A program: `tunectl` that may take only so much more memory than it has when all is loaded.

Usage: python limited_memory.py MIB ARGUMENT...
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import matplotlib.pyplot  # noqa: F401 - to have it loaded before the limit
import numpy as np
import optuna  # noqa: F401 - likewise
import torch

from tunectl.cli.app import run
from tunectl.training.models import build_model


def main() -> int:
    """Load everything, set the limit, run the command."""
    np.linalg.inv(np.eye(200) @ np.eye(200))  # OpenBLAS ends the process if it finds no room later
    torch.set_num_threads(1)
    model = build_model("cnn1d", 2, 2, 4, 0.1, use_residual=True)
    model(torch.zeros(4, 2, 32)).sum().backward()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + int(sys.argv.pop(1)) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return run()


if __name__ == "__main__":
    sys.exit(main())
