"""Ways to run a study's trials: in this process, or in processes of their own."""
