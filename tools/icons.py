"""Make imbox_plugin/icons.json.gz of the npm package @material-symbols/svg-400.

    npm pack @material-symbols/svg-400@0.48.2
    python tools/icons.py material-symbols-svg-400-0.48.2.tgz

The outlined symbols, not filled, by name; of each the path of its drawing in the box
`0 -960 960 960`. The symbols are Google's, under the Apache License 2.0.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import tarfile
from pathlib import Path

TARGET = Path(__file__).parents[1] / "imbox_plugin" / "icons.json.gz"


def main(package: str) -> None:
    """Read the package and write the file; the same package gives the same bytes."""
    paths = {}
    with tarfile.open(package) as files:
        for member in files:
            name = re.fullmatch(r"package/outlined/([a-z0-9_]+)\.svg", member.name)
            if name:
                svg = files.extractfile(member).read().decode()  # type: ignore[union-attr]
                box, path = re.search(r'viewBox="([^"]+)"><path d="([^"]+)"/></svg>', svg).groups()  # type: ignore[union-attr]
                if box != "0 -960 960 960":
                    raise ValueError(f"{member.name} has another box: {box}")
                paths[name[1]] = path
    document = json.dumps(dict(sorted(paths.items())), separators=(",", ":")).encode()
    TARGET.write_bytes(gzip.compress(document, 9, mtime=0))
    print(f"{len(paths)} symbols")


if __name__ == "__main__":
    main(sys.argv[1])
