"""From what the user wrote to Optuna's own objects."""
