"""PostgreSQL dumps in the directory format, as USAspending publishes its database: one table is read in place.

``toc`` finds the file of a table, ``archive`` opens it, ``copy_text`` reads the rows, ``source`` yields recipients.
"""
