"""How gunicorn serves the app; everything that a deployment decides comes from the environment."""

import logging
import os
import re

from gunicorn.workers.gthread import ThreadWorker

from imbox_plugin.app import create_app
from imbox_plugin.settings import SettingsError
from imbox_plugin.web import health
from imbox_plugin.web.overload import places

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"

# An answer waits for databases, not for the processor: threads wait well.
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
# Some more than may have work: what is too much takes a thread to be refused, and so do probes.
threads = places(os.environ) + 4

# Seconds. A worker that has stopped altogether is replaced; an answer has its own deadline.
timeout = 30
graceful_timeout = 30
keepalive = 5

# ImBox sends the identity in the query: the limit of 4094 would refuse what our own rules allow.
limit_request_line = 8190

# Neither query nor referer, which hold identities, nor the user, which is ImBox's key.
accesslog = "-"
access_log_format = '%(t)s "%(m)s %(U)s" %(s)s %(B)s %(D)sus'

# A socket that steers the server is one thing more to guard, and nothing here needs it.
control_socket_disable = True


# Wherever it stands: `/Open/<ticket>` is a 404 that is logged, and its ticket is as good as ever.
# No part of a path of ours is as long, for the name of a panel has at most 64 characters.
_TICKET = re.compile("[^/]{65,}")
# A path comes decoded, and the end of a line in it would let whoever asks write lines of their own.
_UNPRINTABLE = re.compile("[^!-~]")


def ticketless(record: logging.LogRecord) -> bool:
    """Leave a link ticket out of the access log: whoever has it can open it.

    What is left of the path is printable, so that a request is one line.
    """
    if isinstance(record.args, dict):
        path = _TICKET.sub("-", record.args.get("U") or "")
        record.args["U"] = _UNPRINTABLE.sub("?", path)
    return True


def unquoted(record: logging.LogRecord) -> bool:
    """Leave out a request that gunicorn could not read: it would quote identity and key."""
    if str(record.msg).startswith("Invalid request from"):
        record.msg = str(record.msg).partition(": ")[0]
    elif str(record.msg).startswith("Error handling request"):
        record.msg, record.args = "Error handling request", ()
    return True


def on_starting(_server: object) -> None:
    """Say once, and readably, what is wrong with the settings; each worker would say it again."""
    logging.getLogger("gunicorn.error").addFilter(unquoted)
    logging.getLogger("gunicorn.access").addFilter(ticketless)
    try:
        create_app()
    except SettingsError as error:
        raise SystemExit(str(error)) from None


def post_worker_init(worker: ThreadWorker) -> None:
    """See to what only a worker can know, or may begin."""
    # One that was told to stop is no longer ready, whatever it still answers.
    health.ready_while(worker.wsgi, lambda: worker.alive)
    if courier := worker.wsgi.extensions["imbox_plugin"].courier:
        # What an earlier process left behind is delivered before anything new comes.
        courier.start()
