"""Call functions for another process: ``python -m common.backends.serve``.

Reads a line of JSON for each call, ``{"function": "module:name", "arguments": {...}}``, and answers
with one: ``{"result": ...}``, or ``{"refused": why}`` if the function raises an error. The first
line, ``{}``, means that it is ready. See :class:`common.backends.session.Apart`.
"""

import importlib
import json
import os
from typing import Any

from common.errors import NinError, one_line


def answer(function: str, arguments: dict[str, Any]) -> str:
    """Call a function; the answer as a line of JSON."""
    module, _, name = function.partition(":")
    try:
        result = getattr(importlib.import_module(module), name)(**arguments)
        return json.dumps({"result": result})
    except NinError as error:
        # its arguments stay marked, for whoever prints it
        return json.dumps({"refused": error.marked})
    except (OSError, MemoryError) as error:
        return json.dumps({"refused": one_line(error)})
    except Exception as error:
        return json.dumps({"refused": f"{type(error).__name__}: {one_line(error)}"})


def main() -> None:
    """Answer until there are no more requests."""
    # whatever a framework prints is no answer, and what it reads no request
    with os.fdopen(os.dup(0)) as requests, os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        print("{}", file=answers, flush=True)
        for line in requests:
            print(answer(**json.loads(line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
