"""`toolkit store`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from toolkit.cli.app import AsJson, app
from toolkit.cli.output import print_json, say, show_table

store = typer.Typer(
    help="The artifact store ($TOOLKIT_STORE): what is in it, whether it is whole, making room.", no_args_is_help=True
)
app.add_typer(store, name="store")


@store.command()
def show(as_json_: AsJson = False) -> int:
    """Say what the store holds, by kind: how many, how large, when last used."""
    from toolkit.store import store_root
    from toolkit.store.limits import size_of, spell_bytes
    from toolkit.store.upkeep import KEPT, by_kind, contents, half_made

    root, items, half = store_root(), contents(), half_made()
    kinds = {
        kind: {
            "count": len(found),
            "bytes": sum(item.bytes for item in found),
            "unused_s": min(i.unused_s for i in found),
        }
        for kind, found in by_kind(items).items()
    }
    kept = {kind: size_of(root / kind) for kind in KEPT if (root / kind).exists()}
    unfinished = sum(map(size_of, half))
    total = sum(item.bytes for item in items) + sum(kept.values()) + unfinished
    if as_json_:
        print_json(
            {"root": str(root), "bytes": total, "kinds": kinds, "kept": kept, "half_made_bytes": unfinished},
            "store show",
        )
        return 0
    rows: list[tuple[Any, ...]] = [
        (kind, f["count"], spell_bytes(f["bytes"]), age(f["unused_s"])) for kind, f in kinds.items()
    ]
    rows += [(f"{kind} (kept)", None, spell_bytes(size), None) for kind, size in kept.items()]
    rows += [("half-made", len(half), spell_bytes(unfinished), None)] if half else []
    show_table(f"{root}: {spell_bytes(total)}", ("kind", "count", "size", "last used"), rows)
    return 0


def age(seconds: float) -> str:
    """``3 d ago``."""
    unit, size = next(((u, s) for u, s in (("d", 86400), ("h", 3600), ("min", 60)) if seconds >= s), ("s", 1))
    return f"{seconds / size:.0f} {unit} ago"


@store.command()
def check(as_json_: AsJson = False) -> int:
    """Compare every artifact with its manifest; what is damaged is set aside, and made again when next needed.

    Exit code 1 when something was damaged.
    """
    from toolkit.store.upkeep import check as check_store

    found = check_store()
    if as_json_:
        damaged = [{"kind": item.kind, "name": item.name, "reason": why} for item, why in found.damaged]
        print_json({"compared": found.compared, "damaged": damaged, "swept": found.swept}, "store check")
    else:
        swept = f", {found.swept} left half-made by killed processes removed" if found.swept else ""
        print(f"{found.compared} artifacts compared, {len(found.damaged)} damaged{swept}")
    return 1 if found.damaged else 0


@store.command()
def prune(
    older_than: Annotated[str | None, typer.Option(help="Remove what was not used for so long: 30d, 12h, 2w.")] = None,
    max_size: Annotated[
        str | None, typer.Option(help="Remove what was used longest ago until so much is left: 10GB, 500MB.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json_: AsJson = False,
) -> int:
    """Make room: whatever is removed is made again when next needed. Sweeps stay."""
    from toolkit.errors import ConfigError
    from toolkit.store.limits import parse_age, parse_bytes, spell_bytes
    from toolkit.store.upkeep import by_kind
    from toolkit.store.upkeep import prune as prune_store

    if older_than is None and max_size is None:
        raise ConfigError("store prune needs --older-than, --max-size or both: what is to go?")
    seconds = None if older_than is None else parse_age(older_than)
    most = None if max_size is None else parse_bytes(max_size)
    found = prune_store(older_than_s=seconds, max_bytes=most, dry=dry_run)
    if as_json_:
        removed = [{"kind": i.kind, "name": i.name, "bytes": i.bytes, "unused_s": i.unused_s} for i in found.removed]
        print_json(
            {"removed": removed, "freed_bytes": found.freed_bytes, "left_bytes": found.left_bytes, "dry": dry_run},
            "store prune",
        )
        return 0
    for kind, items in by_kind(found.removed).items():
        say(f"{kind}: {len(items)}, {spell_bytes(sum(item.bytes for item in items))}")
    would = "would be removed" if dry_run else "removed"
    print(f"{len(found.removed)} {would}, {spell_bytes(found.freed_bytes)}; {spell_bytes(found.left_bytes)} left")
    return 0
