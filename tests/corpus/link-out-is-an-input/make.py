"""Makes a second name of an input."""

import os

os.link("right.csv", "hard.csv")
