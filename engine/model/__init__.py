"""The classifier and what is known of each sample: networks, losses, predictions, the record."""
