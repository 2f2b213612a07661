"""What a run will take, told before it starts, and held against what it took.

The rooms: ``model`` (pure arithmetic), ``constants`` (its measured numbers), ``machine`` (how fast this machine is
now), ``sample`` and ``trial`` (what the recipients at hand cost), ``refine`` (what earlier runs say), ``recommend``,
``predicted`` (the prediction as a file of the run directory), ``compare``.
"""
