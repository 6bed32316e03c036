"""What is done to the program on purpose: kills at each file operation, full, locked and read-only disks.

    python -m tests.faults --help
"""
