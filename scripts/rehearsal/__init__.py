"""Parts of ``scripts/deploy_rehearsal.py``, a deployment without a container engine.

``containerfile`` executes the container file, ``compose`` reads the compose file, ``roots`` gives each process its own
file system, ``network`` an address and a name, ``services`` starts and monitors them, ``job`` launches and checks a
run.
"""
