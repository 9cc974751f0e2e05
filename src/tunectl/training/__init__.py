"""Fitting a network to arrays; nothing here knows of studies, trials or the terminal."""

import os

# Before PyTorch is loaded, whose threads would otherwise keep their cores busy while they wait for
# each other: beside another program a training would then take three times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
