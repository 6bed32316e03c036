"""Whether a project's files say the same: the decisions that trainings read and the ledger that they come from."""
