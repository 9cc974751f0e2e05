"""The database of studies."""
