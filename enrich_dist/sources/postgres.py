"""A table of a PostgreSQL database as a source of recipients, through ADBC: Arrow batches from a server-side cursor.

One transaction (repeatable read, read only) lasts from the digest to the last row. Rows are sorted by the bytes of all
columns that are read, so that equal rows give equal chunks on any server, which also computes the digest. Credentials
are those of libpq and never appear in messages. Reads one batch at a time. Requires ``adbc-driver-postgresql``.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from enrich_dist.core.files import text_digest
from enrich_dist.errors import SettingsError, SourceError
from enrich_dist.remedies import NAME_MEMBER
from enrich_dist.sources.arrow_text import not_text, require_utf8
from enrich_dist.sources.columns import resolve_columns
from enrich_dist.sources.protocol import DEFAULT_TABLE, RawBatch, ReadOptions, Source
from enrich_dist.sources.source_file import shown_names

SCHEMES: Final = ("postgresql", "postgres")
_PACKAGES: Final = ("adbc_driver_postgresql", "adbc_driver_manager")
_CONNECTION: Final = {"connect_timeout": "15", "client_encoding": "UTF8", "application_name": "enrich_dist"}
_WITHOUT_COPY: Final = {"adbc.postgresql.use_copy": "false"}  # COPY accepts only queries
# Types that are cast to text; arrays and JSON only for alternate names.
_TEXT_TYPES: Final = re.compile(
    r"(text|character varying.*|character\(.*|character|citext|uuid|smallint|integer|bigint|numeric.*|name|oid)"
)
_LIST_TYPES: Final = re.compile(r"(text|character varying.*|character\(.*|citext)\[\]|jsonb?")
# By a part of the server's message, as libpq has no error codes while it connects. "" matches all messages.
_REMEDIES: Final = {
    "password": "Check user and password: PGPASSWORD, ~/.pgpass, or a file that PGPASSFILE names.",
    "permission denied": "Grant this user the right to read it (GRANT SELECT).",
    "": "Check host, port and database in inputs.recipients, and that the server is up.",
}


def open_source(location: str | Path, member: str | None) -> PostgresSource | None:
    """Return the table of a PostgreSQL URI; None for another location."""
    scheme = str(location).partition("://")[0]
    return PostgresSource(str(location), member) if scheme in SCHEMES else None


class PostgresSource(Source):
    """A table or view. ``table``: its name, with or without its schema."""

    def __init__(self, uri: str, table: str | None) -> None:
        self._uri = uri
        self._table = table or DEFAULT_TABLE
        self._connection: Any = None
        self.name = self._table
        self.where = f"{public_uri(uri)}, table {self._table}"

    def check(self, options: ReadOptions) -> None:
        """See ``Source.check``. Closes the connection."""
        with self._translate_errors(), self._connected() as connection:
            table, columns = self._columns(connection, options)
            if not _rows(connection, f"select 1 from {table} limit 1"):
                raise self._no_rows()
            self._expressions(columns)

    def digest(self, options: ReadOptions) -> str:
        """Return a digest of the rows that does not depend on their order. Opens the transaction of ``stream``."""
        with self._translate_errors():
            table, columns = self._columns(self._opened(), options)
            row = ", ".join(self._expressions(columns).values())
            # The text of row() distinguishes null from "" and separates columns.
            [counts] = _rows(
                self._opened(),
                f"""select count(*)::text, coalesce(sum(('x' || left(h, 16))::bit(64)::bigint::numeric), 0)::text,
                           coalesce(sum(('x' || right(h, 16))::bit(64)::bigint::numeric), 0)::text
                    from (select md5(row({row})::text) as h from {table}) as hashes""",
            )
        return text_digest("postgresql", *(f"{name}={header}" for name, (header, _) in columns.items()), *counts)

    def stream(self, options: ReadOptions) -> Generator[RawBatch, None, None]:
        """See ``Source.stream``. Closes the connection at the end."""
        with self._translate_errors():
            connection = self._opened()
            table, columns = self._columns(connection, options)
            expressions = self._expressions(columns)
            chosen = ", ".join(f"{text} as {_quoted(name)}" for name, text in expressions.items())
            order = ", ".join(f'{text} collate "C"' for text in expressions.values())
            # All rows are read; by default the planner optimises for the first rows.
            _run(connection, "set local cursor_tuple_fraction = 1")
            _run(connection, f"declare recipients no scroll cursor for select {chosen} from {table} order by {order}")
        return self._fetch(connection, options.batch_rows)

    def _fetch(self, connection: Any, batch_rows: int) -> Generator[RawBatch, None, None]:
        with closing(self):
            first_row = 1
            while True:
                with self._translate_errors(), connection.cursor() as cursor:
                    cursor.adbc_statement.set_options(**_WITHOUT_COPY)
                    cursor.execute(f"fetch forward {batch_rows} from recipients")
                    rows = cursor.fetch_arrow_table().combine_chunks()
                if not len(rows):
                    if first_row == 1:
                        raise self._no_rows()
                    return
                [batch] = rows.to_batches()
                require_utf8(batch, first_row, self.where)
                cells = {name: batch.column(name) for name in batch.schema.names}
                yield RawBatch.of_rows(cells, first_row, len(rows), self.name)
                first_row += len(rows)

    def _no_rows(self) -> SourceError:
        return SourceError("the table has no rows.", path=self.where, remedy="Name another table.")

    def headers(self) -> list[str]:
        """Return the columns of the table."""
        with self._translate_errors(), self._connected() as connection:
            return [header for header, _ in _listed(connection, self._find_table(connection)[1])]

    def row_count(self) -> tuple[int, bool]:
        """Return the count of the server."""
        with self._translate_errors(), self._connected() as connection:
            table, _ = self._find_table(connection)
            [(count,)] = _rows(connection, f"select count(*) from {table}")
        return int(count), True

    def close(self) -> None:
        """End the transaction."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def _opened(self) -> Any:
        """Return the connection that stays open until ``close``, in its transaction."""
        if self._connection is None:
            self._connection = _connect(self._uri)
            _run(self._connection, "set transaction isolation level repeatable read, read only")
        return self._connection

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """Yield the open connection, or a temporary one."""
        if self._connection is not None:
            yield self._connection
            return
        with closing(_connect(self._uri)) as connection:
            _run(connection, "set transaction read only")
            yield connection

    def _find_table(self, connection: Any) -> tuple[str, int]:
        """Return the quoted name of the table, and its object identifier."""
        schema, _, table = self._table.rpartition(".")
        found = _rows(
            connection,
            f"""select n.nspname, c.oid::bigint, pg_table_is_visible(c.oid)
                from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where c.relname = {_literal(table)} and ({_literal(schema)} = '' or n.nspname = {_literal(schema)})
                  and c.relkind in ('r', 'p', 'v', 'm', 'f') order by n.nspname""",
        )
        # Without a schema: the first of search_path, else the only one.
        found = [row for row in found if row[2]] or found
        if len(found) != 1:
            schemas = shown_names([row[0] for row in found])
            problem = f"there are several: in the schemas {schemas}." if found else "there is no such table."
            raise SourceError(problem, path=self.where, remedy=NAME_MEMBER)
        return f"{_quoted(found[0][0])}.{_quoted(table)}", int(found[0][1])

    def _columns(self, connection: Any, options: ReadOptions) -> tuple[str, dict[str, tuple[str, str]]]:
        """Return the table, and the name and type in it of every canonical column that it has."""
        table, number = self._find_table(connection)
        listed = _listed(connection, number)
        headers = [header for header, _ in listed]
        positions = resolve_columns(headers, options.column_map, options.layout, self.where)
        return table, {name: listed[positions[name]] for name in sorted(positions)}

    def _expressions(self, columns: Mapping[str, tuple[str, str]]) -> dict[str, str]:
        """Return a SQL expression of each canonical column, as text or an array of text."""
        expressions = {}
        for name, (header, kind) in columns.items():
            is_list = name == "alternate_names" and _LIST_TYPES.fullmatch(kind)
            if not is_list and not _TEXT_TYPES.fullmatch(kind):
                raise not_text(name, header, kind, self.where)
            expressions[name] = f"{_quoted(header)}::text{'[]' if kind.endswith('[]') else ''}"
        # The identifier first: if it is unique, sorting compares nothing else.
        return dict(sorted(expressions.items(), key=lambda item: (item[0] != "recipient_id", item[0])))

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Close the connection on any error; raise the driver's errors as ``SourceError``."""
        try:
            yield
        except SourceError:
            self.close()
            raise
        except Exception as error:  # the driver may not be imported yet
            self.close()
            if not type(error).__module__.startswith("adbc_driver_manager"):
                raise
            message = _message(str(error))
            remedy = next(remedy for sign, remedy in _REMEDIES.items() if sign in message)
            # Without its cause, as the driver's text may contain the URI.
            raise SourceError(f"cannot be read: {message}.", path=self.where, remedy=remedy) from None


def public_uri(uri: str) -> str:
    """Return the URI without user, password and options."""
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query))
    host = parts.netloc.rpartition("@")[2] or options.get("host", "")
    return f"{parts.scheme}://{host}/{parts.path.strip('/') or options.get('dbname', '')}".rstrip("/")


def _connect(uri: str) -> Any:
    if any(importlib.util.find_spec(package) is None for package in _PACKAGES):
        raise SettingsError(
            "Reading from PostgreSQL requires the package adbc-driver-postgresql, which is not installed.",
            remedy="Install it here: pip install adbc-driver-postgresql adbc-driver-manager",
        )
    from adbc_driver_postgresql import dbapi

    parts = urlsplit(uri)
    options = _CONNECTION | dict(parse_qsl(parts.query, keep_blank_values=True))
    return dbapi.connect(urlunsplit(parts._replace(query=urlencode(options))))


def _run(connection: Any, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.adbc_statement.set_options(**_WITHOUT_COPY)
        cursor.execute(statement)


def _listed(connection: Any, number: int) -> Sequence[tuple[Any, ...]]:
    """Return the names and types of the columns of a table, given its object identifier."""
    return _rows(
        connection,
        f"""select attname, format_type(atttypid, atttypmod) from pg_attribute
            where attrelid = {number} and attnum > 0 and not attisdropped order by attnum""",
    )


def _rows(connection: Any, query: str) -> Sequence[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    doubled = text.replace("\\", "\\\\").replace("'", "''")
    return f" E'{doubled}'"


def _message(text: str) -> str:
    """Return the message of the server or libpq, without the driver's additions."""
    found = re.search(r"(?:ERROR|FATAL):\s*(.+)", text) or re.search(r"(?:failed|connect):\s*(.+)", text)
    message = found[1] if found else text.splitlines()[0]
    return message.split(" SQLSTATE")[0].strip().rstrip(".")
