"""Bytes of a CSV file: whether they are UTF-8 text, and what is in them."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vae_anomaly.exceptions import DataError

__all__ = ["CHUNK_BYTES", "ContentScan", "check_bytes", "check_start", "may_have_codes"]

WIDE = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}

CHUNK_BYTES = 2**22

OVERLAP = 64
"""Bytes before a chunk in which a pattern that ends in it may begin."""

FIRST_LINE = re.compile(rb"[^\r\n]*\r?\n")

LAST_OF_PUNCTUATION = ord('"')
"""Of the bytes up to this one, line ends, blanks and quotes may stand before a cell."""


class ContentScan:
    """One reading of the bytes of a file.

    Parameters
    ----------
    path : Path
    name : str
        Name of the file in messages.
    delimiter : str

    Attributes
    ----------
    has_quotes : bool
        Whether there are quotes below the first line.
    has_quotes_after_blanks : bool
        Whether blanks stand between a delimiter and a quote.

    Raises
    ------
    DataError
        If the file is not UTF-8 text.
    """

    def __init__(self, path: Path, name: str, delimiter: str) -> None:
        self.has_quotes = self.has_quotes_after_blanks = False
        pattern = re.compile(b"[\r\n" + re.escape(delimiter.encode()) + b'] +"')
        decoder = codecs.getincrementaldecoder("utf-8")()
        lines, quotes_from = 0, None
        for before, chunk in chunks_of(path):
            if quotes_from is None:
                # The header has been parsed: many programs write quotes around names.
                header = FIRST_LINE.match(chunk)
                quotes_from = 0 if header is None else header.end()
            self.has_quotes = self.has_quotes or chunk.find(b'"', quotes_from) >= 0
            quotes_from = 0
            if self.has_quotes and not self.has_quotes_after_blanks:
                self.has_quotes_after_blanks = pattern.search(before + chunk) is not None
            pending = decoder.getstate()[0]
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                check_bytes(name, pending + chunk, lines, final=True)
            if b"\0" in chunk:
                check_bytes(name, chunk, lines, final=False)
            lines += chunk.count(b"\n")
        check_bytes(name, decoder.getstate()[0], lines, final=True)


def chunks_of(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield the bytes of a file in chunks, each with the last bytes before it."""
    before = b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield before, chunk
            before = chunk[-OVERLAP:]


def may_have_codes(path: Path, delimiter: str) -> bool:
    """Return whether a cell may be a number that begins with 0 and another digit."""
    ends = b'[\r\n"' + re.escape(delimiter.encode())
    pattern = re.compile(ends + b"] *0[0-9]+([.,][0-9]*)?(" + ends + rb" ]|\Z)")
    for before, chunk in chunks_of(path):
        # Most chunks have none; to find that out so is faster than with a pattern.
        text = np.frombuffer(before + chunk, np.uint8)
        zero = (text[1:-1] == ord("0")) & (text[2:] - ord("0") < 10)
        zero &= (text[:-2] <= LAST_OF_PUNCTUATION) | (text[:-2] == ord(delimiter))
        if zero.any() and pattern.search(before + chunk):
            return True
    return False


def check_bytes(name: str, chunk: bytes, lines_before: int, *, final: bool) -> None:
    """Raise if some bytes of a file hold NUL, or are not UTF-8.

    Raises
    ------
    DataError
    """
    nul = chunk.find(b"\0")
    if nul >= 0:
        line = lines_before + chunk.count(b"\n", 0, nul) + 1
        raise DataError(
            f"{name}, line {line}: a NUL byte. This is not a text file, or it is UTF-16; "
            f"save it as CSV in UTF-8."
        )
    try:
        codecs.getincrementaldecoder("utf-8")().decode(chunk, final)
    except UnicodeDecodeError as cause:
        line = lines_before + chunk.count(b"\n", 0, cause.start) + 1
        raise DataError(
            f"{name}, line {line}: the byte 0x{chunk[cause.start]:02x} is not UTF-8 text. "
            f"Save the file as UTF-8."
        ) from cause


def check_start(name: str, start: bytes, *, is_whole: bool) -> None:
    """Raise if the first bytes of a file, or all, are none of text in UTF-8.

    Raises
    ------
    DataError
    """
    if not start.strip(b"\xef\xbb\xbf \t\r\n"):
        raise DataError(f"{name} is empty. Expected a line of column names, then rows.")
    for mark, encoding in WIDE.items():
        if start.startswith(mark):
            raise DataError(f"{name} is {encoding} text. Save it as UTF-8.")
    check_bytes(name, start, 0, final=is_whole)
