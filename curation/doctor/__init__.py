"""Whether a project is sound: what is broken, what to do about it, and the repairs that are safe."""
