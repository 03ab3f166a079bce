from typing import Any

Gpu = Any
GPUS: dict[str, Any] = {}
