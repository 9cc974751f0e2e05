"""The demonstration data set: a simulated pipe-flow rig, and its files."""
