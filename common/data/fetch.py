"""Download one file: with a bar on a terminal, and not for ever."""

import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from common.errors import one_line

# Without a byte for so long, or with so few bytes a second over that time, a mirror is given up.
PATIENCE_SECONDS = 20
SLOWEST_BYTES_PER_SECOND = 20_000
CHUNK_BYTES = 1 << 16


def fetch(url: str, file: str | Path, _: Any = None) -> None:
    """Write what is at an address (``http:``, ``https:``, ``file:``) to a file.

    pooch's own downloader waits for ever for a mirror that sends a byte now and then: here a mirror
    that does not answer, or is too slow, is an ``OSError``.
    """
    from common.terminal import display  # here, as that imports what trains on data

    context = None
    if url.startswith("https:"):
        import certifi  # comes with pooch

        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "nin-d2l"})
        answer = urllib.request.urlopen(request, timeout=PATIENCE_SECONDS, context=context)
    except ValueError as error:  # pooch takes it for another checksum
        raise OSError(one_line(error)) from error
    except urllib.error.URLError as error:
        raise OSError(str(getattr(error.reason, "strerror", None) or error.reason)) from error
    size = int(answer.headers.get("Content-Length") or 0)
    what = f"downloading {url.rsplit('/', 1)[1]}"
    with answer, Path(file).open("wb") as out, display.bar(what, size) as advance:
        since, received = time.monotonic(), 0
        # read1 gives what has come; read would wait for all of it
        while chunk := answer.read1(CHUNK_BYTES):
            out.write(chunk)
            advance(len(chunk))
            received += len(chunk)
            waited = time.monotonic() - since
            if waited > PATIENCE_SECONDS:
                if received < waited * SLOWEST_BYTES_PER_SECOND:
                    raise TimeoutError(f"too slow, {received / waited / 1000:.1f} kB/s")
                since, received = time.monotonic(), 0
