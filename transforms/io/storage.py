"""Where the bytes of a table live: a local folder or Azure, and the credentials to reach it."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow.fs as pafs
from deltalake.fs import DeltaStorageHandler

from transforms.errors import UserError
from transforms.io import azure_blobs

AZURE_SCHEMES = ("abfss", "abfs", "az", "azure", "adl", "azfs")
_CREDENTIALS = (("account_key",), ("sas_key",), ("token",), ("client_id", "client_secret", "tenant_id"))
# What the environment may say -> what object_store calls it. The first name that is set wins.
_ENVIRONMENT = {
    "account_name": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"),
    "account_key": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCESS_KEY"),
    "sas_key": ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"),
    "token": ("AZURE_STORAGE_TOKEN",),
    "client_id": ("AZURE_STORAGE_CLIENT_ID", "AZURE_CLIENT_ID"),
    "client_secret": ("AZURE_STORAGE_CLIENT_SECRET", "AZURE_CLIENT_SECRET"),
    "tenant_id": ("AZURE_STORAGE_TENANT_ID", "AZURE_TENANT_ID"),
    "endpoint": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_AMBIENT = {  # credentials that need no secret in the environment
    "AZURE_FEDERATED_TOKEN_FILE": "federated_token_file",
    "AZURE_STORAGE_USE_MANAGED_IDENTITY": "",
    "AZURE_STORAGE_USE_AZURE_CLI": "use_azure_cli",
    "AZURE_STORAGE_USE_EMULATOR": "use_emulator",
}
_OBJECT_STORE = {  # the options object_store spells with a longer name
    name: f"storage_{name}" for name in ("account_name", "account_key", "sas_key", "token", "use_emulator")
}
_CONNECTION_STRING = {
    "accountname": "account_name",
    "accountkey": "account_key",
    "sharedaccesssignature": "sas_key",
    "blobendpoint": "endpoint",
}


def is_azure(uri: str) -> bool:
    """Whether `uri` names Azure storage (`abfss://`, `az://` or Beam's `azfs://`)."""
    return urlsplit(uri).scheme.lower() in AZURE_SCHEMES


def local_path(uri: str) -> Path:
    """The folder a local `uri` (`/a/b`, `a/b` or `file:///a/b`) names.

    Raises:
      UserError: for a scheme that is neither local nor Azure.
    """
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if "://" in uri:
        raise UserError(
            f"storage {parts.scheme}:// is not supported", uri, "use a local folder, abfss://, az:// or azfs://"
        )
    return Path(uri).expanduser()


def table_uri(uri: str) -> str:
    """The spelling of `uri` that Delta understands: `azfs://account/container/x` becomes `az://container/x`."""
    if not is_azure(uri):
        return str(local_path(uri).absolute())
    if urlsplit(uri).scheme.lower() == "azfs":
        return "az://" + urlsplit(uri).path.strip("/")
    return uri.rstrip("/")


def join(uri: str, *parts: str) -> str:
    """`uri` and `parts` with one slash between them, whatever the storage."""
    return "/".join([uri.rstrip("/") or uri, *(part.strip("/") for part in parts if part)])


def storage_options(uri: str) -> dict[str, str] | None:
    """Credentials and address for object_store from the `AZURE_STORAGE_*` environment; None for a local path.

    Raises:
      UserError: no credential is set (object_store would otherwise hang, asking the network for a token).
    """
    if not is_azure(uri):
        local_path(uri)  # refuses an unknown scheme
        return None
    found = _from_connection_string(os.environ.get("AZURE_STORAGE_CONNECTION_STRING", ""))
    for option, names in _ENVIRONMENT.items():
        value = next((os.environ[name] for name in names if os.environ.get(name)), None)
        if value:
            found[option] = value
    if account := _account_of(uri):
        found["account_name"] = account
    ambient = {option: os.environ[name] for name, option in _AMBIENT.items() if os.environ.get(name)}
    if not ambient and not any(all(name in found for name in names) for names in _CREDENTIALS):
        raise UserError(
            "no Azure credential is set",
            uri,
            "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"
            " (or AZURE_STORAGE_SAS_TOKEN, or AZURE_STORAGE_USE_MANAGED_IDENTITY=true)",
        )
    found.update((option, value) for option, value in ambient.items() if option)
    if found.get("endpoint", "").startswith("http://"):
        found["allow_http"] = "true"
    return {f"azure_{_OBJECT_STORE.get(option, option)}": value for option, value in found.items()}


def make_folder(uri: str) -> None:
    """Creates the folder `uri` names; nothing to do on Azure.

    Raises:
      UserError: not allowed to, or something else is there.
    """
    if is_azure(uri):
        return
    try:
        local_path(uri).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = "no permission to write" if isinstance(error, PermissionError) else f"cannot be made: {error.strerror}"
        raise UserError(f"the folder for the table: {what}", uri, "check the path and its access rights") from error


def filesystem(uri: str) -> pafs.FileSystem:
    """A pyarrow file system whose root is `uri`, with the credentials of `storage_options`."""
    if is_azure(uri):
        return pafs.PyFileSystem(DeltaStorageHandler(table_uri(uri), storage_options(uri)))
    return pafs.SubTreeFileSystem(table_uri(uri), pafs.LocalFileSystem())


def put_new(uri: str, name: str, content: bytes) -> None:
    """Writes a file below `uri` that must not be there yet, all of it or nothing.

    Raises:
      FileExistsError: it is there.
      OSError: it could not be written; on Azure it may be there all the same.
    """
    if is_azure(uri):
        azure_blobs.put_new(table_uri(uri), storage_options(uri) or {}, name, content)
        return
    path = local_path(uri).absolute() / name
    written = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        written.write_bytes(content)
        os.link(written, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(written)


def _account_of(uri: str) -> str | None:
    parts = urlsplit(uri)
    if parts.scheme.lower() == "azfs":
        return parts.netloc
    return parts.hostname.split(".")[0] if parts.username and parts.hostname else None


def _from_connection_string(text: str) -> dict[str, str]:
    pairs = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    return {
        _CONNECTION_STRING[name.lower()]: value for name, value in pairs.items() if name.lower() in _CONNECTION_STRING
    }
