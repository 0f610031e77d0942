"""A line at the bottom of the screen that says what is being done, and how long it takes."""

from __future__ import annotations

import sys
from typing import TextIO


class Status:
    """One line at the bottom that says what is being done. Where nobody watches (no terminal), it is left out."""

    def __init__(self, output: TextIO | None = None):
        self.output = output or sys.stdout
        self.shown = False
        self.watched = self.output.isatty()

    def say(self, text: str) -> None:
        """Replaces the line."""
        if self.watched:
            self.output.write(f"\r\033[K{text[:79]}")
            self.output.flush()
            self.shown = True

    def clear(self) -> None:
        """Takes the line away, before anything else is printed."""
        if self.shown:
            self.output.write("\r\033[K")
            self.output.flush()
            self.shown = False


def about(seconds: float) -> str:
    """A time, as people say it: ``20 s``, ``3 min``."""
    return f"{max(5, round(seconds / 5) * 5)} s" if seconds < 90 else f"{round(seconds / 60)} min"
