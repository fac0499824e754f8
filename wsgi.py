"""What gunicorn serves: `gunicorn wsgi:app`."""

from flask.cli import NoAppException

from imbox_plugin.app import create_app
from imbox_plugin.settings import SettingsError

try:
    app = create_app()
except SettingsError as error:
    # The mistakes, readably; flask's own commands show no traceback of this exception.
    raise NoAppException(str(error)) from None
