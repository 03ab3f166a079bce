"""The artifact store: what names an artifact, how it is written, checked, reused and healed, and its upkeep."""

from toolkit.store.artifacts import (
    MANIFEST,
    Artifact,
    artifact,
    damage,
    opened,
    seal,
    set_aside,
    store_at,
    store_root,
)
from toolkit.store.digests import digest, float_arithmetic, package_versions
from toolkit.store.files import read_json, replacing, tell, write_bytes, write_json, write_text, writing

__all__ = [
    "MANIFEST",
    "Artifact",
    "artifact",
    "damage",
    "digest",
    "float_arithmetic",
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
