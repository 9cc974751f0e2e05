"""From a study to what people and scripts read."""
