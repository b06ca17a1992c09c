"""Checks that are repeated for many files or names, as one test that lists all that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import pytest

Item = TypeVar("Item")


def for_each(
    items: Iterable[Item], name: Callable[[Item], str] = str
) -> Callable[[Callable[[Item], None]], Callable[[], None]]:
    """Return a decorator that makes a test of a check of one item.

    A test for each item would take longer to report than to run.

    Parameters
    ----------
    items : iterable
    name : callable, default=str
        Names an item in the message.
    """

    def test_of(check: Callable[[Item], None]) -> Callable[[], None]:
        def test() -> None:
            failures = []
            for item in items:
                try:
                    check(item)
                except AssertionError as error:
                    failures.append(f"{name(item)}: {error}")
            if failures:
                pytest.fail("\n".join(failures), pytrace=False)

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return test_of
