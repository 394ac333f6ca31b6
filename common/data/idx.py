"""The idx files of MNIST and its relatives, gzipped or not."""

import gzip
import zlib
from pathlib import Path

import numpy as np

from common.errors import NinError, plural

# Third byte of a file -> what its numbers are (LeCun's MNIST page).
TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
GZIP = b"\x1f\x8b"


def read_uncompressed(path: Path) -> bytes:
    """The content of a file, unzipped if it is zipped, whatever its name.

    Raises:
        NinError: if it cannot be read or is no intact gzip file.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(GZIP) else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NinError(f"{path}: not an intact gzip file ({error})") from error
    except OSError as error:
        raise NinError(f"{path}: cannot be read ({error.strerror})") from error


def parse_idx(content: bytes, dimensions: int, where: str) -> np.ndarray:
    """An idx file as an array.

    The format (LeCun's MNIST page): two zero bytes, the type of the numbers, the number of
    dimensions, each dimension as a big-endian 32-bit number, then the numbers, big-endian.

    Args:
        content: the uncompressed file.
        dimensions: how many it must have.
        where: the file's name, for messages.

    Returns:
        array, writable, of the machine's byte order; uint8 for unsigned bytes.

    Raises:
        NinError: with what was expected and what was found.
    """
    header = 4 + 4 * dimensions
    if tuple(content[:4]) not in [(0, 0, kind, dimensions) for kind in TYPES]:
        raise NinError(
            f"{where}: not an idx file of {dimensions} dimensions (starts with "
            f"{content[:4].hex() or 'nothing'}, expected {bytes((0, 0, 8, dimensions)).hex()})"
        )
    if len(content) < header:
        words = plural(f"{len(content)} byte(s), the header has {header}")
        raise NinError(f"{where}: truncated ({words})")
    kind = np.dtype(TYPES[content[2]])
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4))
    expected = header + kind.itemsize * int(np.prod(shape, dtype=object))
    if len(content) != expected:
        what = "truncated" if len(content) < expected else "too long"
        raise NinError(
            f"{where}: {what} ({plural(f'{len(content)} byte(s)')}, its header says {expected} for "
            f"{'x'.join(map(str, shape))})"
        )
    array = np.frombuffer(content, kind, offset=header).reshape(shape)
    return array.astype(kind.newbyteorder("="))


def to_idx(array: np.ndarray) -> bytes:
    """The reverse of :func:`parse_idx`, for uint8."""
    return np.array([0x800 + array.ndim, *array.shape], ">u4").tobytes() + array.tobytes()
