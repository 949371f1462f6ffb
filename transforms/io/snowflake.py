"""The Snowflake warehouse: Parquet files into a stage, COPY of just those, and the load's one transaction."""

from __future__ import annotations

import os
import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import snowflake.connector as connector

from transforms.errors import UserError
from transforms.io.warehouse import Row, Warehouse

FILE_ROWS = 1_000_000  # of a staged file: Snowflake loads files of 100 to 250 MB best
# What the environment may say -> what the connector calls it. Secrets are read here and nowhere printed.
_ENVIRONMENT = {
    "SNOWFLAKE_ACCOUNT": "account",
    "SNOWFLAKE_USER": "user",
    "SNOWFLAKE_PASSWORD": "password",
    "SNOWFLAKE_AUTHENTICATOR": "authenticator",
    "SNOWFLAKE_TOKEN": "token",
    "SNOWFLAKE_TOKEN_FILE_PATH": "token_file_path",
    "SNOWFLAKE_PRIVATE_KEY_FILE": "private_key_file",
    "SNOWFLAKE_PRIVATE_KEY_FILE_PWD": "private_key_file_pwd",
    "SNOWFLAKE_DATABASE": "database",
    "SNOWFLAKE_WAREHOUSE": "warehouse",
    "SNOWFLAKE_ROLE": "role",
    "SNOWFLAKE_HOST": "host",
    "SNOWFLAKE_PORT": "port",
    "SNOWFLAKE_PROTOCOL": "protocol",
}
_SECRETS = ("password", "token", "private_key_file", "token_file_path")


@dataclass(frozen=True)
class SnowflakeConfig:
    """How to reach an account: a connection named in connections.toml, or what the environment says.

    Attributes:
      connection: of ~/.snowflake/connections.toml; empty takes SNOWFLAKE_ACCOUNT, SNOWFLAKE_USER, SNOWFLAKE_DATABASE
        and one of SNOWFLAKE_PRIVATE_KEY_FILE (key pair), SNOWFLAKE_TOKEN (with SNOWFLAKE_AUTHENTICATOR=oauth) or
        SNOWFLAKE_PASSWORD.
    """

    connection: str = ""

    def options(self, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
        """What the connector is given.

        Raises:
          UserError: the environment lacks something.
        """
        if self.connection:
            return {"connection_name": self.connection}
        found = {option: environment[name] for name, option in _ENVIRONMENT.items() if environment.get(name)}
        for name in ("SNOWFLAKE_ACCOUNT", "SNOWFLAKE_USER", "SNOWFLAKE_DATABASE"):
            if _ENVIRONMENT[name] not in found:
                raise UserError(f"{name} is not set", "snowflake://", "set it, or name a connection: snowflake://NAME")
        if not any(secret in found for secret in _SECRETS):
            raise UserError(
                "no credential is set",
                "snowflake://",
                "set SNOWFLAKE_PRIVATE_KEY_FILE, SNOWFLAKE_TOKEN or SNOWFLAKE_PASSWORD, or name a connection",
            )
        if "port" in found:
            found |= {"port": int(found["port"])}  # type: ignore[dict-item]
        return found


class Snowflake(Warehouse):
    """A warehouse in the database that the connection names.

    Raises:
      UserError: no connection, with what Snowflake said.
    """

    def __init__(self, config: SnowflakeConfig = SnowflakeConfig()) -> None:
        self.where = f"snowflake://{config.connection}"
        options = config.options()
        try:
            self._session = connector.connect(
                **options,
                login_timeout=60,
                session_parameters={"QUERY_TAG": "customer360-beam"},
                enable_server_session_keep_alive_auto_detection=False,  # nothing of ours goes on after a close
            )
        except connector.Error as error:
            raise _explained(error, self.where) from None
        self._room = ""  # a schema of this session's own for what is staged

    def run(self, statement: str) -> list[Row]:
        try:
            with self._session.cursor() as cursor:
                rows = cursor.execute(statement).fetchall()
        except connector.Error as error:
            raise _explained(error, self.where) from None
        return [tuple(_plain(value) for value in row) for row in rows]

    def stage(self, name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        if not self._room:
            self._room = f"LOAD_{uuid.uuid4().hex[:12].upper()}"
            self.run(f"CREATE TRANSIENT SCHEMA {self._room}")
            self.run(f"USE SCHEMA {self._room}")
            self.run(f"CREATE STAGE {self._room}.ARRIVING")
        columns = ", ".join(f"{field.name} {_kind(field.type)}" for field in schema)
        self.run(f"CREATE OR REPLACE TRANSIENT TABLE {name} ({columns})")
        place = f"{self._room}.ARRIVING/{name}"
        with tempfile.TemporaryDirectory(prefix="c360-stage-") as folder:
            for path in _files(Path(folder), schema, batches):
                self.run(f"PUT 'file://{path}' @{place} AUTO_COMPRESS = FALSE OVERWRITE = TRUE")
                self._copy(name, place, path.name)
                path.unlink()

    def _copy(self, name: str, place: str, file: str) -> None:
        self.run(
            f"COPY INTO {name} FROM @{place}/{file} FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE)"
            " MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE ON_ERROR = ABORT_STATEMENT"
        )

    def query(self, sql: str, limit: int | None = None) -> pa.Table:
        try:
            with self._session.cursor() as cursor:
                cursor.execute(sql)
                names = [column.name for column in cursor.description or ()]
                rows = cursor.fetchmany(limit) if limit else cursor.fetchall()
        except connector.Error as error:
            raise _explained(error, self.where) from None
        return pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)})

    def close(self) -> None:
        try:
            if self._room:
                self.run(f"DROP SCHEMA IF EXISTS {self._room}")
        finally:
            self._session.close()


def _files(folder: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[Path]:
    """Writes the rows into Parquet files of at most FILE_ROWS rows and a batch, each handed out when it is whole."""
    writer, rows = None, 0
    path = folder / f"{uuid.uuid4().hex}.parquet"
    for batch in batches:
        writer = writer or pq.ParquetWriter(path, schema, compression="snappy")
        writer.write_batch(batch)
        rows += batch.num_rows
        if rows >= FILE_ROWS:
            writer.close()
            yield path
            writer, rows, path = None, 0, folder / f"{uuid.uuid4().hex}.parquet"
    if writer:
        writer.close()
        yield path


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return f"NUMBER({kind.precision}, {kind.scale})"
    names = {"int64": "NUMBER(18, 0)", "int32": "NUMBER(18, 0)", "double": "FLOAT", "float": "FLOAT", "bool": "BOOLEAN"}
    names |= {"date32[day]": "DATE", "timestamp[us]": "TIMESTAMP_NTZ", "null": "VARCHAR"}
    return names.get(str(kind), "VARCHAR")


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else value


def _explained(error: Exception, where: str) -> UserError:
    """What Snowflake said, in one line, without the statement."""
    said = re.sub(r"\s+", " ", str(getattr(error, "raw_msg", None) or getattr(error, "msg", None) or error)).strip()
    number = getattr(error, "errno", None)
    known = {
        250001: ("no connection to Snowflake", "check SNOWFLAKE_ACCOUNT and the network"),
        390100: ("user name or password is wrong", "check SNOWFLAKE_USER and the credential"),
        390144: ("the key is not this user's", "register the public key with ALTER USER"),
        390189: ("the role does not exist or is not granted", "check SNOWFLAKE_ROLE"),
        606: ("no active warehouse", "set SNOWFLAKE_WAREHOUSE, or resume the one that is suspended"),
    }
    if isinstance(error, connector.OperationalError):  # after six attempts
        return UserError("the connection to Snowflake was lost", where, "check the network, and run again")
    what, remedy = known.get(number or 0, (f"Snowflake: {said[:200]}", ""))
    return UserError(what, where, remedy)
