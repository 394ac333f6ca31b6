"""The one exception that a person is meant to read."""


class NinError(Exception):
    """Something the user can put right.

    Its message is one line that says what is wrong, where, and what to do. The scripts print
    it on stderr and exit with status 2; with ``--debug`` they show the traceback instead.
    """
