"""The exception that a person is meant to read, and what other exceptions say."""


class NinError(Exception):
    """Something the user can put right.

    Its message is one line that says what is wrong, where, and what to do. The scripts print
    it on stderr and exit with status 2; with ``--debug`` they show the traceback instead.
    """


def one_line(error: BaseException) -> str:
    """An exception's message without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception of any framework says that memory ran out; each has its own words."""
    words = f"{type(error).__name__} {error}".lower()
    phrases = ("out of memory", "not enough memory", "exhausted", "allocate memory", "bad_alloc")
    return any(phrase in words for phrase in (*phrases, "allocate cpu memory"))
