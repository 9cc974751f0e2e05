"""Figures of a study and of its trials, for paper and screen: Matplotlib, Plotly and plain text."""
