"""Snowflake's stand-in: fakesnow as a server, in an environment of its own, for the real connector to talk to.

Run by that environment's Python with a port. It mends what fakesnow 0.12 lacks for connector 5: fields of the login and
of the stage's place, errors as answers instead of HTTP 500 (which the client would repeat for minutes); it leaves out
primary and foreign keys, which Snowflake does not enforce and DuckDB behind it would.

It refuses what an account refuses: another password than PASSWORD, a role that is not ROLE, a statement for which no
warehouse runs (`POST /stand-in/warehouse?runs=no` suspends it). An UPDATE of the load's lock waits for the transaction
that has updated it before, as in Snowflake (DuckDB would fail it); a transaction that another one waits for, and that
has been idle for IDLE_SECONDS (Snowflake: 5 minutes), is rolled back, as after the death of a client.
"""

import gzip
import json
import re
import secrets
import sys
import threading
import time

import fakesnow.info_schema as info_schema
import fakesnow.server as server
import uvicorn
from starlette.responses import JSONResponse
from starlette.routing import Route

PASSWORD, ROLE, IDLE_SECONDS = "p", "LOADER", 1.0
_login, _query, _stage = server.login_request, server.query_request, server.gcs_stage_info
_execute, _comment = server.FakeSnowflakeCursor.execute, info_schema.insert_table_comment_sql


def refused(code, message, state, status=200):
    said = {"data": {"errorCode": code, "sqlState": state}, "code": code, "message": message, "success": False}
    return JSONResponse(said, status)


async def login(request):
    body = await request.body()
    packed = request.headers.get("Content-Encoding") == "gzip"
    data = json.loads(gzip.decompress(body) if packed else body)["data"]
    if data.get("PASSWORD") != PASSWORD:
        return refused("390100", "Incorrect username or password was specified.", "08001")
    role = request.query_params.get("roleName") or ROLE
    if role != ROLE:
        what = f"Role '{role}' specified in the connect string does not exist or not authorized. Contact your local "
        return refused("390189", what + "system administrator, or attempt to login with another role.", "08001")
    answer = json.loads((await _login(request)).body)
    answer["data"] |= {"masterToken": secrets.token_urlsafe(32), "sessionId": 1}
    answer["data"] |= {"validityInSeconds": 36_000, "masterValidityInSeconds": 140_000}
    return JSONResponse(answer | {"code": None, "message": None})


async def query(request):
    if not Warehouse.runs:
        return refused("000606", "No active warehouse selected in the current session. Select an active warehouse"
                       " with the 'use warehouse' command.\n", "57P03")  # fmt: skip
    answer = await _query(request)
    if answer.status_code != 500:
        return answer
    said = json.loads(answer.body)
    return JSONResponse(said | {"data": {"errorCode": "261000", "sqlState": "XX000"}, "success": False})


def stage(request, expression, put):
    place = _stage(request, expression, put)
    put["overwrite"] = True
    unknown = ("storageAccount", "endPoint", "ftpUploadUrl", "volumeHash")
    no = ("isClientSideEncrypted", "useS3RegionalUrl", "useRegionalUrl", "useVirtualUrl")
    place |= {"region": "US-CENTRAL1", "path": place["location"]} | dict.fromkeys(unknown) | dict.fromkeys(no, False)
    return place


class Warehouse:
    runs = True


async def warehouse(request):
    Warehouse.runs = request.query_params["runs"] == "yes"
    return JSONResponse({"runs": Warehouse.runs})


class Lock:
    """Who has updated OPS.LOAD_LOCK in a transaction that has not ended; others wait."""

    def __init__(self):
        self._changed, self._holder, self._idle_since = threading.Condition(), None, None

    def take(self, session):
        with self._changed:
            while self._holder not in (None, session):
                if self._idle_since and time.monotonic() - self._idle_since > IDLE_SECONDS:
                    self._holder._duck_conn.rollback()
                    self._holder = None
                else:
                    self._changed.wait(0.05)
            self._holder = session

    def touch(self, session, ends, at_work):
        with self._changed:
            if self._holder is session:
                self._idle_since = None if at_work else time.monotonic()
                if ends and not at_work:
                    self._holder = None
                    self._changed.notify_all()


LOCK = Lock()


def execute(self, command, *args, **options):
    command = re.sub(r" REFERENCES \S+ \(\w+\)", "", command)
    command = re.sub(r",\s*PRIMARY KEY \([^)]*\)(?=\s*\))", "", command)
    ends = command in ("COMMIT", "ROLLBACK")
    if command.startswith("UPDATE OPS.LOAD_LOCK"):
        LOCK.take(self._conn)
    LOCK.touch(self._conn, ends, True)
    try:
        return _execute(self, command, *args, **options)
    finally:
        LOCK.touch(self._conn, ends, False)


def comment(catalog, schema, table, text):
    # A MERGE inside a transaction would write to two of DuckDB's databases, which it refuses.
    return "SELECT 1" if table.upper() == "MERGE_CANDIDATES" else _comment(catalog, schema, table, text)


async def telemetry(request):
    return JSONResponse({"success": True, "data": None, "code": None, "message": None})


server.FakeSnowflakeCursor.execute, info_schema.insert_table_comment_sql = execute, comment
server.gcs_stage_info = stage
_OURS = {"/session/v1/login-request": login, "/queries/v1/query-request": query}
server.app.router.routes[:] = [
    Route(route.path, _OURS[route.path], methods=["POST"]) if route.path in _OURS else route
    for route in server.app.router.routes
] + [
    Route("/telemetry/send", telemetry, methods=["POST"]),
    Route("/stand-in/warehouse", warehouse, methods=["POST"]),
]

if __name__ == "__main__":
    uvicorn.run(server.app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
