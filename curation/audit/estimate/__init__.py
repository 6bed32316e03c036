"""How many labels are wrong: the random sample, its plan, and the rates with their intervals."""
