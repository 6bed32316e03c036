"""What is done to the program on purpose: kills at each file operation, full, locked and read-only disks.

    python -m tests.faults --help       kills of the engine and of commands
    python -m tests.faults.app          of the running app
    python -m tests.faults.writes       within large writes
    python -m tests.faults.damage       damaged files
"""
