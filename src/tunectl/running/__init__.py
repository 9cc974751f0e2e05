"""From a study to finished trials."""
