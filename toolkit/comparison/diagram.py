"""The diagrams of a report as inline SVG: how models become rows, and a design's layers with their types.

Every text is escaped; colours come from the page's style sheet through classes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from toolkit import harmless
from toolkit.comparison.answer import recommended
from toolkit.comparison.columns import column_of, number
from toolkit.comparison.compare import Comparison
from toolkit.comparison.design import DesignView, LayerView, stage_cycles
from toolkit.records import CheckResult, Estimate, Implementation

WIDE_COLUMNS, NARROW_COLUMNS = 5, 1
CHARACTER = 7.1  # mean advance of the 12 px interface font, on the wide side
LINE = 16
PAD = 10


@dataclass(frozen=True)
class Node:
    """A box: position and size in pixels, a heading, lines under it, and a class for its colour."""

    x: float
    y: float
    width: float
    height: float
    title: str
    lines: tuple[str, ...]
    kind: str

    def svg(self) -> str:
        left, title = self.x + PAD, escape(self.fitting(self.title))
        texts = [f'<text x="{left:g}" y="{self.y + 20:g}" class="node-title">{title}</text>']
        texts += [
            f'<text x="{self.x + PAD:g}" y="{self.y + 20 + LINE * row:g}">{escape(self.fitting(line))}</text>'
            for row, line in enumerate(self.lines, start=1)
        ]
        box = f'<rect x="{self.x:g}" y="{self.y:g}" width="{self.width:g}" height="{self.height:g}" rx="7"/>'
        whole = escape("; ".join([self.title, *self.lines]))
        return f'<g class="node {self.kind}"><title>{whole}</title>{box}{"".join(texts)}</g>'

    def fitting(self, text: str) -> str:
        """Text cut to the box."""
        most = int((self.width - 2 * PAD) / CHARACTER)
        return text if len(text) <= most else text[: most - 1] + "…"


def data_flow(comparison: Comparison, columns: int) -> Markup:
    """From the dataset to the rows of the table; ``columns`` is 4 on wide pages and 1 on narrow ones."""
    stages = flow_stages(comparison)
    if columns == 1:
        return stacked(stages)
    width, gap, tall = 232.0, 56.0, max(len(stage) for stage in stages)
    height = 96.0
    nodes: list[list[Node]] = []
    for index, stage in enumerate(stages):
        offset = (tall - len(stage)) * (height + 18) / 2
        nodes.append(
            [
                Node(index * (width + gap), offset + row * (height + 18), width, height, title, lines, kind)
                for row, (title, lines, kind) in enumerate(stage)
            ]
        )
    arrows = [
        elbow(one.x + one.width, one.y + one.height / 2, two.x, two.y + two.height / 2)
        for left, right in itertools.pairwise(nodes)
        for one in left
        for two in right
        if joined(one.kind, two.kind)
    ]
    arrows += [under(one, two) for one in nodes[1] for two in nodes[-1] if two.kind == "baseline" and len(nodes) > 3]
    total_width, total_height = len(stages) * (width + gap) - gap, tall * (height + 18) - 18
    body = "".join(arrows) + "".join(node.svg() for stage in nodes for node in stage)
    return drawing(body, total_width, total_height, "How data and models become the rows of the table", "flow-wide")


Entry = tuple[str, tuple[str, ...], str]


def flow_stages(comparison: Comparison) -> list[list[Entry]]:
    """Boxes from left to right, those without records left out."""
    rows = comparison.rows
    designs = [row for row in rows if row.family == "fpga"]
    engines = [row for row in rows if row.family == "baseline"]
    facts = comparison.facts
    named = {key.replace("_", " "): text for key, text in facts.items()}
    data = tuple(f"{key}: {text}" for key, text in named.items() if key == "dataset" or key.startswith("test "))
    digest = (f"test digest {comparison.test_digest}",) if comparison.test_digest else ()
    stages: list[list[Entry]] = [
        [("Dataset", (*data, *digest)[:4], "data")],
        [("Float model", float_lines(rows), "float")],
    ]
    middle: list[Entry] = []
    if designs:
        middle.append(("QKeras, quantized", bits_lines(designs), "quantized"))
        middle.append((f"{len(designs)} HLS project{'s' if len(designs) > 1 else ''}", project_lines(designs), "fpga"))
    ends: list[Entry] = []
    if designs:
        ends.append(("csim and emulator", proof_lines(designs), "proof"))
        ends.append(("Cycles and area", estimate_lines(designs), "estimate"))
    if engines:
        ends.append((f"{len(engines)} baseline{'s' if len(engines) > 1 else ''}", engine_lines(engines), "baseline"))
    if middle:
        stages += [[middle[0]], [middle[1]]]
    return [*stages, ends] if ends else stages


def joined(left: str, right: str) -> bool:
    """Which boxes an arrow joins: everything in sequence, except that baselines come from the float model."""
    return right != "baseline" or left == "float"


def float_lines(rows: Sequence[Implementation]) -> tuple[str, ...]:
    """Size and accuracy of the float model."""
    row = next((row for row in rows if row.family == "model"), None) or next(
        (row for row in rows if row.facts.get("precision") == "float32"), None
    )
    if row is None:
        return ()
    keys = [key for key in (*(metric.name for metric in row.metrics[:1]), "parameters", "macs") if key in row.figures]
    columns = [column_of(key, row.metrics) for key in keys]
    return (
        row.name,
        *(f"{column.title} {column.text(row.figures[column.key].value)} {column.unit}" for column in columns),
    )


def bits_lines(designs: Sequence[Implementation]) -> tuple[str, ...]:
    """Widths that occur."""
    lines = []
    for key, what in (("weight_bits", "weights"), ("activation_bits", "activations")):
        widths = sorted({round(row.figures[key].value, 1) for row in designs if key in row.figures}, reverse=True)
        if widths:
            shown = ", ".join(number(width) for width in widths[:5]) + (" …" if len(widths) > 5 else "")
            lines.append(f"{what}: {shown} bits")
    return tuple(lines)


def project_lines(designs: Sequence[Implementation]) -> tuple[str, ...]:
    """io type, strategy and part that occur."""
    lines = [
        ", ".join(sorted({row.facts[key] for row in designs if key in row.facts}))
        for key in ("io_type", "strategy", "part")
    ]
    return tuple(line for line in lines if line)


def proof_lines(designs: Sequence[Implementation]) -> tuple[str, ...]:
    checks = [part for row in designs for part in row.parts if isinstance(part, CheckResult) and part.exact]
    if not checks:
        return ("bit-accurate logits",)
    equal = sum(check.equal for check in checks)
    images = max(check.images for check in checks)
    return ("bit-accurate logits", f"{equal} of {len(checks)} checks equal", f"up to {images:,} images each")


def estimate_lines(designs: Sequence[Implementation]) -> tuple[str, ...]:
    count = sum(any(isinstance(part, Estimate) for part in row.parts) for row in designs)
    found = sorted({row.figures["latency_us"].source for row in designs if "latency_us" in row.figures})
    return (f"{count} estimates", f"sources: {', '.join(found)}") if found else (f"{count} estimates",)


def engine_lines(engines: Sequence[Implementation]) -> tuple[str, ...]:
    names = list(dict.fromkeys(row.facts.get("engine", "") for row in engines))
    return (", ".join(names[:3]), f"{sum('missing' not in row.facts for row in engines)} with figures")


def stacked(stages: Sequence[Sequence[Entry]]) -> Markup:
    """The same boxes one under the other, for narrow pages."""
    width, y, nodes = 320.0, 0.0, []
    for stage in stages:
        for title, lines, kind in stage:
            height = 32.0 + LINE * len(lines)
            nodes.append(Node(0, y, width, height, title, lines, kind))
            y += height + 26
    arrows = [
        arrow(f"M{width / 2:g},{one.y + one.height:g}V{two.y - 3:g}")
        for one, two in itertools.pairwise(nodes)
        if joined(one.kind, two.kind) and one.kind not in ("proof", "estimate")
    ]
    body = "".join(arrows) + "".join(node.svg() for node in nodes)
    return drawing(body, width, y - 26, "How data and models become the rows of the table", "flow-narrow")


def elbow(x1: float, y1: float, x2: float, y2: float) -> str:
    """An arrow with a smooth bend between two boxes."""
    middle = (x1 + x2) / 2
    return arrow(f"M{x1:g},{y1:g}C{middle:g},{y1:g} {middle:g},{y2:g} {x2 - 4:g},{y2:g}")


def under(one: Node, two: Node) -> str:
    """An arrow that passes below what lies between."""
    x, y = one.x + one.width / 2, two.y + two.height / 2
    return arrow(f"M{x:g},{one.y + one.height:g}V{y - 12:g}Q{x:g},{y:g} {x + 12:g},{y:g}H{two.x - 4:g}")


def arrow(path: str) -> str:
    return f'<path class="flow" d="{path}" marker-end="url(#ARROW)"/>'


def drawing(body: str, width: float, height: float, label: str, key: str) -> Markup:
    """A whole SVG with an arrow head of its own, since two drawings on a page share no ids."""
    head = f'<marker id="{key}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    drawn = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="group" aria-label="{escape(label)}" '
        f'viewBox="-2 -2 {width + 4:g} {height + 4:g}" style="max-width: {width:g}px">'
        f'<defs>{head}<path d="M0,0L8,4L0,8z" class="head"/></marker></defs>{body.replace("#ARROW", f"#{key}")}</svg>'
    )
    return Markup(harmless.page(drawn))


# The look of a diagram outside the page, whose style sheet gives it colours and both themes there.
PRINT_STYLE = """
text { font-family: 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; font-size: 12px; fill: #57606d }
.node-title { font-size: 13px; font-weight: 600; fill: #1b222c }
rect { fill: #ffffff; stroke: #dde2e8; stroke-width: 1.3 }
.float rect { fill: #eff0f1; stroke: #8a8f98 }
.quantized rect, .fpga rect, .proof rect, .estimate rect, .compute rect { fill: #e7f0f8; stroke: #7fb0db }
.baseline rect { fill: #f9efe4; stroke: #dea76a }
.bottleneck rect { fill: #eef4fa; stroke: #b0342a; stroke-width: 2 }
.flow { fill: none; stroke: #57606d; stroke-width: 1.3 }
.head { fill: #57606d }
"""


def printable(comparison: Comparison) -> dict[str, str]:
    """The diagrams by file name, as SVG that needs no style sheet."""
    found = {"data_flow": data_flow(comparison, WIDE_COLUMNS)}
    if chosen := design_of(comparison):
        found["layers"] = accelerator(*chosen, WIDE_COLUMNS)
    style = f"<style>{PRINT_STYLE}</style><defs>"
    return {name: str.replace(drawn, "<defs>", style, 1) for name, drawn in found.items()}  # plain text, not Markup


def design_of(comparison: Comparison) -> tuple[Implementation, DesignView] | None:
    """The recommended design with its view, else the first that has one."""
    first = recommended(comparison)
    for row in [*([first] if first else []), *comparison.rows]:
        view = next((part for part in row.parts if isinstance(part, DesignView)), None)
        if view:
            return row, view
    return None


def accelerator(row: Implementation, view: DesignView, columns: int) -> Markup:
    """A design's layers in order, row by row, each with its shape, types and share of the work."""
    estimate = next((part for part in row.parts if isinstance(part, Estimate)), None)
    cycles = {layer.name: stage_cycles(layer).value for layer in estimate.layers} if estimate else {}
    slowest = max(cycles, key=lambda name: cycles[name]) if cycles else None
    width, height, gap = 214.0 if columns > 1 else 300.0, 112.0, 34.0
    nodes = []
    for index, layer in enumerate(view.layers):
        kind = "bottleneck" if layer.name == slowest else "compute" if layer.weights else "plain"
        x, y = (index % columns) * (width + gap), (index // columns) * (height + gap)
        nodes.append(Node(x, y, width, height, layer.name, layer_lines(layer, cycles.get(layer.name)), kind))
    arrows = [bend(one, two) for one, two in itertools.pairwise(nodes)]
    rows = math.ceil(len(nodes) / columns)
    across = min(columns, len(nodes))
    body = "".join(arrows) + "".join(node.svg() for node in nodes)
    return drawing(
        body,
        across * (width + gap) - gap,
        rows * (height + gap) - gap,
        f"Layers of {row.name} in order",
        f"layers-{columns}",
    )


def layer_lines(layer: LayerView, cycles: float | None) -> tuple[str, ...]:
    """Kind and shape, output type, its modes, weight type, cycles."""
    shape = " \N{MULTIPLICATION SIGN} ".join(map(str, layer.shape))
    lines = [f"{layer.kind} {shape}", *type_lines(layer.result)]
    if layer.weight:
        lines.append(f"weights {layer.weight.removeprefix('ap_')}")
    reuse = f"RF {layer.reuse_factor}" if layer.weight and layer.reuse_factor else ""
    words = [word for word in (reuse, f"{number(cycles)} cycles" if cycles else "") if word]
    return (*lines, *([", ".join(words)] if words else []))


def type_lines(precision: str) -> list[str]:
    """``ap_fixed<6,3,RND,SAT>`` on two lines: the width, then the modes where it has any."""
    head, *modes = precision.removesuffix(">").split(",", 2)[:2], *precision.removesuffix(">").split(",")[2:]
    width = ",".join(head)
    return [width + (">" if "<" in width else ""), *([" ".join(modes)] if modes else [])]


def bend(one: Node, two: Node) -> str:
    """An arrow to the next box: straight in a row, around the corner to the next row."""
    if two.x > one.x:
        y = one.y + one.height / 2
        return arrow(f"M{one.x + one.width:g},{y:g}H{two.x - 4:g}")
    x1, y1, x2, y2 = one.x + one.width / 2, one.y + one.height, two.x + two.width / 2, two.y
    middle = (y1 + y2) / 2
    return arrow(f"M{x1:g},{y1:g}V{middle:g}H{x2:g}V{y2 - 4:g}")
