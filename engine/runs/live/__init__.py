"""The live loop: a process that keeps a run's live folder (engine.contract.live) under the decisions of now."""
