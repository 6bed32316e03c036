"""The map of all samples: what lies where, its picture at any zoom, regions of it."""
