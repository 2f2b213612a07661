"""Is everything there that a run in production needs? Checked before, reported, and asked for when a run begins.

``items`` is the one list of what is checked, each item a function in ``checks``; ``examine`` goes through it in a
``situation``; ``report`` shows the outcome in the terminal, as Markdown and as JSON; ``gate`` keeps it as the readiness
file and refuses a run without one; ``checklist`` writes docs/DEPLOYMENT_CHECKLIST.md. Does not cover what every run
checks for itself before it begins (``cli.run``), and is no protection against somebody who may write to the work
directory or the settings: it keeps people from mistakes.
"""
