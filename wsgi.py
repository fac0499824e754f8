"""What gunicorn serves: `gunicorn wsgi:app`."""

from imbox_plugin.app import create_app

app = create_app()
