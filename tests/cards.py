"""Layouts and cards for the tests of layout, compose and fit."""

import json

from imbox_plugin.compose import Composer
from imbox_plugin.fit import Fit
from imbox_plugin.formats import Formats
from imbox_plugin.html import Sanitizer
from imbox_plugin.layout import LayoutReader, Templates
from imbox_plugin.model import Contact, Finding, Key, Lookup, Match, Outcome, View
from imbox_plugin.settings import Limits, SettingsFile
from schemas.reply import reply_schema
from schemas.wire import WireNames

EXTERNAL_ID = Lookup(View.TICKET, {Key.EXTERNAL_ID: "K1"})

#: as long as the settings allow
LONG_NAMES = WireNames(
    **{
        name: name.ljust(64, "x")
        for name in (
            *("html_type", "html_content", "link_text", "link_url"),
            *("accordion_type", "accordion_title", "accordion_data"),
        )
    }
)


def layout_file(folder, text):
    """The settings file of a layout, whose blocks are `[[blocks]]`."""
    path = folder / "imbox.toml"
    path.write_text(text, "utf-8")
    return SettingsFile(path, {})


def read_layout(folder, text, sources=("crm",), locale="en"):
    """The blocks of a layout, and the mistakes found in them."""
    file = layout_file(folder, text)
    templates = Templates(Formats(locale), Sanitizer(), folder)
    blocks = LayoutReader(file, templates).blocks(file.tables.get("blocks", ()), "blocks", sources)
    return blocks, [str(problem) for problem in file.problems]


def composer(folder, text="", sources=("crm",), locale="en", *, documented=False, **limits):
    """What makes the cards of a layout."""
    blocks, mistakes = read_layout(folder, text, sources, locale)
    assert mistakes == []
    formats = Formats(locale)
    fit = Fit(Limits(**limits), formats)
    return Composer(blocks, formats, Sanitizer(), fit, documented=documented)


def found(source="crm", key=Key.EXTERNAL_ID, age=0.0, **contact):
    """What a source says that knows the person."""
    match = Match(Contact(**contact), source, key, age)
    return Finding(source, Outcome.FOUND, match, (key,))


def dumped(reply, wire=WireNames()):  # noqa: B008 - immutable
    """The reply as ImBox gets it."""
    return json.loads(json.dumps(reply_schema(wire).dump(reply)))


def size(reply, wire=WireNames()):  # noqa: B008 - immutable
    """Bytes of the reply as it leaves."""
    return len(json.dumps(reply_schema(wire).dump(reply), ensure_ascii=False).encode())
