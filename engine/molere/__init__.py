"""The method: who is routed to validation, how samples are weighted, and the hypergradient between them."""
