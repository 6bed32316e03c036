"""The live folder: a run as it would be under the decisions of now, and what these decisions did."""
