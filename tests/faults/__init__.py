"""What is done to the program on purpose: kills at each file operation, full, locked and read-only disks.

    python -m tests.faults --help     of the engine and commands; tests.faults.app: of the running app; tests.faults.writes:
                                      within large writes; tests.faults.damage: damaged files
"""
