"""The idx files of MNIST and its relatives, gzipped or not."""

import gzip
import zlib
from pathlib import Path

import numpy as np

from common.errors import NinError


def read_uncompressed(path: Path) -> bytes:
    """The content of a file, unzipped if its name ends in ``.gz``.

    Raises:
        NinError: if it cannot be read or is no intact gzip file.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NinError(f"{path}: not an intact gzip file ({error})") from error
    except OSError as error:
        raise NinError(f"{path}: cannot be read ({error.strerror})") from error


def parse_idx(content: bytes, dimensions: int, where: str) -> np.ndarray:
    """An idx file of unsigned bytes as an array.

    The format (LeCun's MNIST page): two zero bytes, type 8 (unsigned byte), the number of
    dimensions, each dimension as a big-endian 32-bit number, then the bytes.

    Args:
        content: the uncompressed file.
        dimensions: how many it must have.
        where: the file's name, for messages.

    Returns:
        uint8 array, writable.

    Raises:
        NinError: with what was expected and what was found.
    """
    magic = bytes((0, 0, 8, dimensions))
    header = 4 + 4 * dimensions
    if content[:4] != magic:
        raise NinError(
            f"{where}: not an idx file of {dimensions} dimensions "
            f"(starts with {content[:4].hex() or 'nothing'}, expected {magic.hex()})"
        )
    if len(content) < header:
        raise NinError(f"{where}: truncated ({len(content)} bytes, the header has {header})")
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4))
    expected = header + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        what = "truncated" if len(content) < expected else "too long"
        raise NinError(
            f"{where}: {what} ({len(content)} bytes, its header says {expected} for "
            f"{'x'.join(map(str, shape))})"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()
