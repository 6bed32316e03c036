"""What a command's exit status says to the shell that called it; 1 is a fault of ours, with a traceback."""

DONE = 0
REFUSED = 2
"""The user's input is wrong, and nothing was done: one line on stderr."""
LOST = 3
"""Done, but rows or pictures that were given are not in it: each is named in the report or on the screen."""
INTERRUPTED = 130

EPILOG = ("Exit status: 0 done; 2 refused, nothing was done; 3 done, but rows or pictures that were given are not in "
          "it, and each is named; 130 stopped by Ctrl-C; 1 a fault of ours.")
"""What every --help ends with."""
