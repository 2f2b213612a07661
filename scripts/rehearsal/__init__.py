"""A deployment rehearsed without a container engine: what ``scripts/deploy_rehearsal.py`` is made of.

``containerfile`` reads and executes the container file, ``compose`` reads the compose file, ``roots`` gives each
process a file system of its own, ``network`` an address and a name, ``services`` starts and watches them, ``job``
launches a run and looks at what became of it.
"""
