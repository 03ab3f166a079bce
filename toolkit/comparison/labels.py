"""Where to put point labels so that they overlap neither points nor each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CHARACTER = 6.1  # mean advance of the 11 px interface font
LINE = 14.0
GAP = 9.0


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, ``y`` growing downwards."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.y + self.height / 2

    def overlap(self, other: Box) -> float:
        """Shared area in square pixels."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(0.0, across) * max(0.0, down)


def placed(
    anchors: Sequence[tuple[float, float]],
    texts: Sequence[str],
    obstacles: Sequence[Box],
    size: tuple[float, float],
    lines: Sequence[Box] = (),
) -> list[Box | None]:
    """For each anchor the free box nearest to it, or nothing where every place is taken.

    Greedy in the order given; the candidates are right, left, above and below, then further out.
    A label crosses ``lines`` only where there is no place beside them.
    """
    taken = list(obstacles)
    result: list[Box | None] = []
    for (x, y), text in zip(anchors, texts, strict=True):
        wide = len(text[:28]) * CHARACTER
        places = [box for box in candidates(x, y, wide) if inside(box, size) and clear(box, taken)]
        box = next((box for box in places if clear(box, lines)), None) or next(iter(places), None)
        result.append(box)
        if box:
            taken.append(box)
    return result


def clear(box: Box, others: Sequence[Box]) -> bool:
    """Whether a box overlaps none of the others by more than a hair."""
    return not any(box.overlap(other) > 4 for other in others)


def candidates(x: float, y: float, wide: float) -> Iterator[Box]:
    """Places around a point, best first."""
    for step in (0, 1, 2):
        rise = step * LINE * 0.75
        for up in (-rise, rise) if rise else (0.0,):
            yield Box(x + GAP, y + up - LINE / 2, wide, LINE)
            yield Box(x - GAP - wide, y + up - LINE / 2, wide, LINE)
        yield Box(x - wide / 2, y - GAP - LINE - rise, wide, LINE)
        yield Box(x - wide / 2, y + GAP + rise, wide, LINE)


def inside(box: Box, size: tuple[float, float]) -> bool:
    return box.x >= 0 and box.x + box.width <= size[0] and box.y >= 0 and box.y + box.height <= size[1]
