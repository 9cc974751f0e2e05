"""The report: a study as one HTML file that needs nothing else, no network and no other file."""
