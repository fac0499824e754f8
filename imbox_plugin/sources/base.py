"""What a data source is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import marshmallow

from imbox_plugin.model import SHARED_KEYS, Contact, Key, Lookup


class SourceError(Exception):
    """A source cannot say whether it knows the person; an empty answer would say that it does not.

    The message is for the operator: it names what is wrong and the cure, and holds no identity, no
    password and no URL.

    Args:
        message: one sentence.
        permanent: asking again will not help until somebody mends it (a rejected password, say).
    """

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceContext:
    """What a source is told beside its own options."""

    #: its `name` in the settings
    name: str = "source"
    #: the folder of the settings file; relative paths in the options start here
    folder: Path = field(default_factory=Path)
    #: ISO country of phone numbers written nationally; None: such numbers are no key
    default_region: str | None = None
    #: the identities of a contact found by another source that this one is asked by as well
    enrich: frozenset[Key] = SHARED_KEYS
    #: seconds that one question may take; whoever asks is gone soon after
    time_limit: float = 2.0


class DataSource(ABC):
    """One place that knows people. Built once, asked from many threads at the same time.

    Keep nothing about a question on `self`. The threads are the source's own: context variables of
    the request are not there.
    """

    #: what it can search by; a class attribute, or set in `__init__` where the options decide
    keys: frozenset[Key]
    #: whether its answers are kept for a while unless the settings say otherwise; False where
    #: asking again costs no more, and shows a change at once
    cached: ClassVar[bool] = True
    #: whether an answer depends on `lookup.key` and `lookup.value` and on nothing else of the
    #: lookup, so that it also answers the same question from another view, ticket or call
    by_identity_alone: ClassVar[bool] = False

    class Options(marshmallow.Schema):
        """Its table in the settings, without `name`, `type` and `default_region`.

        Mark a password or token with `metadata={"secret": True}`, so that a literal in the
        settings file is warned about; a function of the value may tell when it is one. What
        `metadata={"help": "..."}` says in a line is listed by `flask sources`.
        """

    def __init__(self, options: Mapping[str, Any], context: SourceContext) -> None:
        """Keep the loaded options; connect lazily, so that the server starts without the source.

        Raises:
            SourceError: the options cannot be right; that is a mistake in the settings.
        """
        self.options = options
        self.context = context

    @abstractmethod
    def find(self, lookup: Lookup) -> Sequence[Contact]:
        """Everyone known by the one identity that `lookup.key` names; empty: not known here.

        The directory verifies what is returned, so a coarse search is welcome.

        Raises:
            SourceError: cannot say.
        """

    def check(self) -> None:  # noqa: B027
        """Raise SourceError when the source cannot be asked now."""

    def close(self) -> None:  # noqa: B027
        """Give back connections and files."""
