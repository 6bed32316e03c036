"""A run from its config to its files, and what runs do besides: status, maps, cross-fitted trainings."""
