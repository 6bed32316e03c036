"""Small statistics that engine and curation share: intervals, shares, confident predictions. Imports no torch."""
