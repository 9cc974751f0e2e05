"""The objective `flow_cnn`: a convolutional network that reads ultrasonic signals of a pipe flow.

It is `signal_regressor` with the defaults of the flow rig, which stand in `config/signal_run.py`.
"""

from __future__ import annotations

from tunectl.objectives.signal_regressor import SignalRegressor


class FlowCnn(SignalRegressor):
    """The preset for the flow rig."""
