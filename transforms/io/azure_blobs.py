"""What Azure's own client does for tables that object_store's Python face does not: a file that must be new."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

_EMULATOR = "http://127.0.0.1:10000/devstoreaccount1"


def put_new(uri: str, options: Mapping[str, str], name: str, content: bytes) -> None:
    """Writes the blob `name` below `uri` if it is not there.

    Args:
      uri, options: as object_store takes them; see `storage.table_uri` and `storage.storage_options`.

    Raises:
      FileExistsError: it is there.
      OSError: no answer, or a refusal; the blob may be there all the same.
    """
    from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError

    container, folder = _place(uri)
    try:
        blobs = _container(container, tuple(sorted(options.items())))
        blobs.upload_blob(f"{folder}/{name}".lstrip("/"), content, overwrite=False)
    except ResourceExistsError as error:
        raise FileExistsError(f"{name} is there") from error
    except HttpResponseError as error:
        refused = "permission denied" if error.status_code in (401, 403) else f"{error.status_code} service answer"
        raise OSError(f"{refused} while writing {name}") from error
    except AzureError as error:  # no answer, or half of one
        raise OSError(f"timed out while writing {name}") from error


def _place(uri: str) -> tuple[str, str]:
    """Container and folder of `abfss://container@account.../folder` or `az://container/folder`."""
    parts = urlsplit(uri)
    return (parts.username or parts.netloc), parts.path.strip("/")


@lru_cache(maxsize=32)
def _container(name: str, options: tuple[tuple[str, str], ...]) -> Any:
    from azure.storage.blob import ContainerClient

    given = {key.removeprefix("azure_").removeprefix("storage_"): value for key, value in options}
    account = given.get("account_name", "")
    address = given.get("endpoint") or f"https://{account}.blob.core.windows.net"
    if given.get("use_emulator", "").lower() in ("1", "true"):
        address = _EMULATOR
    credential = _credential(given, account)
    return ContainerClient(
        address.rstrip("/"), name, credential=credential, retry_total=3, initial_backoff=1, increment_base=2
    )


def _credential(given: Mapping[str, str], account: str) -> Any:
    from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
    from azure.identity import ClientSecretCredential, DefaultAzureCredential

    if key := given.get("account_key"):
        return AzureNamedKeyCredential(account, key)
    if sas := given.get("sas_key"):
        return AzureSasCredential(sas.lstrip("?"))
    if token := given.get("token"):
        return _Token(token)
    if "client_secret" in given:
        return ClientSecretCredential(given["tenant_id"], given["client_id"], given["client_secret"])
    return DefaultAzureCredential()


class _Token:
    """A token somebody else got, and has to renew."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *_: str, **__: Any) -> Any:
        from azure.core.credentials import AccessToken

        return AccessToken(self._token, int(time.time()) + 3600)
