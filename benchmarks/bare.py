"""Settings for gunicorn beyond the command line: none, where the project has a file of its own."""
