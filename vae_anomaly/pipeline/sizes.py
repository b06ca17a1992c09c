"""Sizes of memory as text."""

from __future__ import annotations

import re

__all__ = ["bytes_of"]

MAX_SIZE_LENGTH = 40
"""Characters of a size of memory."""

SIZE = re.compile(r"(\d+\.?\d*|\.\d+) ?([KMGT])(I?)B", re.ASCII | re.IGNORECASE)


def bytes_of(text: str) -> int:
    """Return the bytes of a size; the units KiB, MiB and so on are powers of 1,024.

    Examples
    --------
    >>> bytes_of("1.5GB"), bytes_of("512 mib")
    (1500000000, 536870912)
    """
    found = SIZE.fullmatch(text.strip())
    if found is None or len(text) > MAX_SIZE_LENGTH:
        raise ValueError(
            f"expected a size such as 2GB, 1.5GiB or 900MB, got {text[:MAX_SIZE_LENGTH]!r}."
        )
    number, unit, binary = found.groups()
    step = 1024 if binary else 1000
    size = int(float(number) * step ** (1 + "KMGT".index(unit.upper())))
    if size == 0:
        raise ValueError(f"expected more than nothing, such as 2GB, got {text!r}.")
    return size
