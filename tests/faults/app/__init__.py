"""Kills of the running app: the real server, pressed as a browser presses it, and ended at a random moment.

    python -m tests.faults.app --help
"""
