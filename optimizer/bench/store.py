"""History in SQLite: every finished record at once, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from optimizer.bench.record import Record, read_line
from optimizer.errors import Fault, SpecError, StoppedError

_TABLES = """
create table if not exists run (
    id integer primary key, question text not null, version text not null, started text not null, finished text
);
create table if not exists record (
    run integer not null references run(id), scenario text not null, method text not null, digest text not null,
    document text not null, primary key (run, scenario, method)
);
"""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Store:
    """One history file.

    Parameters
    ----------
    path
        Created where it does not exist.

    Raises
    ------
    SpecError
        Not a file of this kind, or not writable.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        with self._connection() as connection:
            connection.executescript(_TABLES)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path)) as connection, connection:
                yield connection
        except sqlite3.Error as error:
            if "full" in str(error):
                raise StoppedError(f"{self.path}: cannot be written: {error}") from None
            raise SpecError(Fault(self.path, None, None, None, f"no history of benchmarks: {error}")) from None

    def open_run(self, question: str, version: str) -> int:
        """The unfinished run of the same question and version, or a new one.

        Parameters
        ----------
        question
            Scenarios, methods and settings as text: runs of the same question may be resumed.
        """
        with self._connection() as connection:
            row = connection.execute(
                "select id from run where question = ? and version = ? and finished is null order by id desc limit 1",
                (question, version),
            ).fetchone()
            if row is not None:
                return int(row[0])
            done = connection.execute(
                "insert into run (question, version, started) values (?, ?, ?)", (question, version, _now())
            )
            return int(done.lastrowid or 0)

    def put(self, run: int, record: Record) -> None:
        """Keep one record."""
        values = (run, record.scenario, record.method, record.digest, json.dumps(record.to_json()))
        with self._connection() as connection:
            connection.execute("insert or replace into record values (?, ?, ?, ?, ?)", values)

    def get(self, run: int, scenario: str, method: str, digest: str) -> Record | None:
        """The record of an interrupted run, where the problem is still the same."""
        with self._connection() as connection:
            row = connection.execute(
                "select document from record where run = ? and scenario = ? and method = ? and digest = ?",
                (run, scenario, method, digest),
            ).fetchone()
        return None if row is None else read_line(row[0], self.path)

    def finish(self, run: int) -> None:
        """Mark a run as whole."""
        with self._connection() as connection:
            connection.execute("update run set finished = ? where id = ?", (_now(), run))

    def records(self, run: int | None = None) -> list[Record]:
        """Records of a run, or of the last finished one, in the order they were kept."""
        with self._connection() as connection:
            if run is None:
                row = connection.execute(
                    "select id from run where finished is not null order by id desc limit 1"
                ).fetchone()
                if row is None:
                    return []
                run = int(row[0])
            rows = connection.execute("select document from record where run = ? order by rowid", (run,)).fetchall()
        return [read_line(document, self.path) for (document,) in rows]
