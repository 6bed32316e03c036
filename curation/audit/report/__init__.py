"""What an audit found, put together and said so that it can be signed."""
