"""Columns as Go's text/tabwriter aligns them, with the settings that `--format table` uses.

A cell ends in a tab; neighbouring lines that have a cell in the same column form a block of one width.
"""

from __future__ import annotations

_LEAST = 12
_PADDING = 2


def align(text: str) -> str:
    """The text with its tabs replaced by spaces; what follows a line's last tab is not padded."""
    lines = [line.split("\t") for line in text.split("\n")]
    if len(lines[-1]) > 1 and not lines[-1][-1]:
        del lines[-1][-1]  # the end of the text ends a cell only if there is something in it
    shown: list[str] = []
    _block(lines, 0, len(lines), [], shown)
    return "\n".join(shown)


def _block(lines: list[list[str]], start: int, end: int, widths: list[int], shown: list[str]) -> None:
    """Show the lines from `start` to `end`; `widths`: of the columns that they all have."""
    column = len(widths)
    current = start
    while current < end:
        if column >= len(lines[current]) - 1:
            current += 1
            continue
        shown += (_line(line, widths) for line in lines[start:current])
        start = current
        while current < end and column < len(lines[current]) - 1:
            current += 1
        widest = max(len(line[column]) for line in lines[start:current])
        _block(lines, start, current, [*widths, max(_LEAST, widest + _PADDING)], shown)
        start = current
    shown += (_line(line, widths) for line in lines[start:end])


def _line(cells: list[str], widths: list[int]) -> str:
    return "".join(
        cell.ljust(widths[index]) if index < len(widths) and index < len(cells) - 1 else cell
        for index, cell in enumerate(cells)
    )
