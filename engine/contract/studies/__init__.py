"""A study's plan, its files, its rows, and the comparison of its arms."""
