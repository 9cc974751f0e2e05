"""Fitting a network to arrays; nothing here knows of studies, trials or the terminal."""
