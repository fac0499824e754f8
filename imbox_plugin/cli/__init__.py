"""The commands of `flask`; docs/commands.md has them all."""

from imbox_plugin.cli.cards import card, lookup
from imbox_plugin.cli.checking import check, doctor
from imbox_plugin.cli.contacts import import_
from imbox_plugin.cli.keeping import events, purge
from imbox_plugin.cli.offers import sources
from imbox_plugin.cli.recordings import probe, record, replay_command
from imbox_plugin.cli.starting import init

__all__ = [
    "card",
    "check",
    "doctor",
    "events",
    "import_",
    "init",
    "lookup",
    "probe",
    "purge",
    "record",
    "replay_command",
    "sources",
]
