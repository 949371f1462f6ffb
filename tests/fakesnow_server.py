"""Snowflake's stand-in: fakesnow as a server, in an environment of its own, for the real connector to talk to.

Run by that environment's Python with a port. It mends what fakesnow 0.12 lacks for connector 5: fields of the login and
of the stage's place, errors as answers instead of HTTP 500 (which the client would repeat for minutes); it leaves out
primary and foreign keys, which Snowflake does not enforce and DuckDB behind it would.
"""

import json
import re
import secrets
import sys

import fakesnow.info_schema as info_schema
import fakesnow.server as server
import uvicorn
from starlette.responses import JSONResponse
from starlette.routing import Route

_login, _query, _stage = server.login_request, server.query_request, server.gcs_stage_info
_execute, _comment = server.FakeSnowflakeCursor.execute, info_schema.insert_table_comment_sql


async def login(request):
    answer = json.loads((await _login(request)).body)
    answer["data"] |= {"masterToken": secrets.token_urlsafe(32), "sessionId": 1}
    answer["data"] |= {"validityInSeconds": 36_000, "masterValidityInSeconds": 140_000}
    return JSONResponse(answer | {"code": None, "message": None})


async def query(request):
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


def execute(self, command, *args, **options):
    command = re.sub(r" REFERENCES \S+ \(\w+\)", "", command)
    command = re.sub(r",\s*PRIMARY KEY \([^)]*\)(?=\s*\))", "", command)
    return _execute(self, command, *args, **options)


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
] + [Route("/telemetry/send", telemetry, methods=["POST"])]

if __name__ == "__main__":
    uvicorn.run(server.app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
