"""PostgreSQL dumps in the directory format, as USAspending publishes its database: one table is read in place.

``toc`` reads which table is in which file, ``archive`` opens the files, ``copy_text`` reads the rows, and ``source``
yields them as recipients.
"""
