"""The registry: the `type` in the settings becomes a class, imported when it is asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Generic, TypeVar

from imbox_plugin.settings import unknown

T = TypeVar("T")

SOURCES = MappingProxyType(
    {
        "inline": "imbox_plugin.sources.inline:InlineSource",
        "sql": "imbox_plugin.sources.sql:SqlSource",
    }
)

LINKS = MappingProxyType(
    {
        "gallabox": "imbox_plugin.links.gallabox:Gallabox",
        "url": "imbox_plugin.links.url:UrlTemplate",
        "whatsapp": "imbox_plugin.links.whatsapp:WhatsApp",
    }
)


class PluginError(Exception):
    """A `type` that names no plugin; the message is for the settings."""


class Registry(Generic[T]):
    """The types of one kind of plugin: built-in, installed, or `module:Class`.

    Args:
        kind: the class every plugin of this kind extends.
        builtin: type -> `module:Class`; an installed package never replaces one of these.
        group: the entry-point group of installed packages.
        folder: where modules of the integrator's own lie, beside the settings file.
    """

    def __init__(self, kind: type[T], builtin: Mapping[str, str], group: str, folder: Path) -> None:
        self._kind = kind
        self._folder = str(folder)
        installed = {entry.name: entry.value for entry in entry_points(group=group)}
        self.types: Mapping[str, str] = MappingProxyType({**installed, **builtin})

    def load(self, type_: str) -> type[T]:
        """The class of a type.

        Raises:
            PluginError: there is no such type, module or class, or it is not of this kind.
            Exception: whatever a broken module raises while it is imported.
        """
        target = self.types.get(type_) or (type_ if ":" in type_ else "")
        if not target:
            raise PluginError(unknown("type", type_, self.types))
        found = self._resolve(target)
        if not (isinstance(found, type) and issubclass(found, self._kind)):
            raise PluginError(f"{target} is not a {self._kind.__name__}; name a class that is")
        return found

    def _resolve(self, target: str) -> object:
        module, _, name = target.partition(":")
        if not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]):
            raise PluginError("not the name of a class; write it as module:Class")
        # At the end of the path: a file beside the settings must not hide a module of Python's.
        if self._folder not in sys.path:
            sys.path.append(self._folder)
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module and not module.startswith(f"{error.name}."):
                raise
            raise PluginError(
                f"there is no module {module}; install it, or put {module}.py beside the settings"
            ) from None
        try:
            return attrgetter(name)(found)
        except AttributeError:
            raise PluginError(f"the module {module} has no {name}; correct the name") from None
