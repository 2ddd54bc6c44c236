"""The WSGI application that gunicorn serves: `gunicorn -c deploy/gunicorn.conf.py wsgi:app`."""

import os

from orderapi.app import create_app
from orderapi.settings import read_settings

app = create_app(read_settings(os.environ))
