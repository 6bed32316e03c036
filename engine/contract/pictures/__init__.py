"""Opening pictures that strangers made, here or where they lie."""
