"""What pages say of runs: how they stand, whether one has learned, whether it routes, and what started here."""
