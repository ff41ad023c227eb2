"""Files, whole or not at all: what everything that ``make`` runs writes with."""

import os
import shutil
from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """Write a whole new file beside the old one first: a crash leaves one of the two, and never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    if path.exists():
        shutil.copymode(path, part)
    os.replace(part, path)
