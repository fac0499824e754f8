"""Installed packages, as Python sees them: a module, and what it says of itself."""

from __future__ import annotations

from pathlib import Path


def install(site: Path, module: str, text: str, group: str, **types: str) -> None:
    """Put a package of one module, version 1.0, into a folder that is on Python's path."""
    site.joinpath(f"{module}.py").write_text(text, "utf-8")
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    about = f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n"
    info.joinpath("METADATA").write_text(about, "utf-8")
    lines = [f"[{group}]", *(f"{name} = {target}" for name, target in types.items())]
    info.joinpath("entry_points.txt").write_text("\n".join(lines), "utf-8")
