"""Sources for the tests of the webhook, named in their settings as `tests.web.witness:Class`."""

from __future__ import annotations

from imbox_plugin.sources.inline import InlineSource


class Witness(InlineSource):
    """An inline source that remembers what it was asked."""

    def __init__(self, options, context):
        super().__init__(options, context)
        self.asked = []

    def find(self, lookup):
        self.asked.append(lookup)
        return super().find(lookup)


class Broken(InlineSource):
    """A plugin with a mistake, whose error quotes what it was asked."""

    def find(self, lookup):
        message = f"no row for {lookup.value}"
        raise RuntimeError(message)


class Coarse(InlineSource):
    """Finds everybody, as a coarse statement may: whoever was not asked for is dropped."""

    def find(self, _lookup):
        return self._people
