"""The artifact store: what names an artifact, how it is written, checked, reused and healed, and its upkeep."""

from toolkit.store.artifacts import (
    Artifact,
    artifact,
    damage,
    opened,
    seal,
    set_aside,
    store_at,
    store_root,
)
from toolkit.store.digests import digest, package_versions
from toolkit.store.files import read_json, replacing, tell, write_bytes, write_json, write_text, writing

__all__ = [
    "Artifact",
    "artifact",
    "damage",
    "digest",
    "opened",
    "package_versions",
    "read_json",
    "replacing",
    "seal",
    "set_aside",
    "store_at",
    "store_root",
    "tell",
    "write_bytes",
    "write_json",
    "write_text",
    "writing",
]
