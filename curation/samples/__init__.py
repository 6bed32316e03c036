"""One table of a run's samples, what is selected of it, and what is known next to it."""
