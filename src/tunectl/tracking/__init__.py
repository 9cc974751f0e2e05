"""The mirror of a study in MLflow. MLflow is imported inside functions only: it takes seconds."""
