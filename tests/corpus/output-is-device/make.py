"""A named pipe in the place of an output."""

import os

os.mkfifo("pipe")
