import logging

from imbox_plugin.sinks import Event, SinkContext
from imbox_plugin.sinks.log import LogSink


def told(caplog, *names):
    with caplog.at_level(logging.WARNING):
        LogSink({}, SinkContext()).deliver(Event(*names[:3], {"name": "canary"}, names[3]))
    return [record.getMessage() for record in caplog.records]


def test_the_log_has_type_link_panel_and_key_and_nothing_of_the_data(caplog):
    lines = told(caplog, "default", "Chat", "WZ_OPEN_ENTITY", "m-1")

    assert lines == ["event 'WZ_OPEN_ENTITY' of link 'Chat' in panel 'default', 'm-1'"]


def test_a_name_from_a_browser_stays_in_its_line(caplog):
    (line,) = told(caplog, "default", "Chat", "T", "m\n1\x1b[2J\u2028")

    assert line.isascii()
    assert line.isprintable()
