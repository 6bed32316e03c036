"""How probably each given label is wrong, and which labels stand for which."""
