"""The floor: what Flask and gunicorn need for a JSON reply of this size, with nothing behind it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from flask import Flask, Response

app = Flask(__name__)
_TEXT = Path(os.environ["IMBOX_BENCH_CARD"]).read_text("utf-8")
_DOCUMENT = json.loads(_TEXT)


@app.get("/imbox")
def ready() -> Response:
    """The text of the card as it lies there: the floor that ratios refer to."""
    return Response(_TEXT, mimetype="application/json")


@app.get("/jsonify")
def encoded() -> dict[str, object]:
    """The same document through Flask's own encoder, as most endpoints would have it."""
    return _DOCUMENT
