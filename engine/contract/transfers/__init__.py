"""Contract 4, transfer scores: what was asked for, and what came of it. Imports no torch."""
