"""Interactions from a person's own file: which columns they are, and what they hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from recsys.interactions import INTERACTIONS, Log
from transforms.io.column_map import Target

TARGETS = (
    Target("user", True, ("userid", "customerid", "customer", "personid", "person", "visitorid", "visitor", "clientid",
                          "memberid", "buyerid", "reviewerid", "uid", "accountid", "custid", "custno")),
    Target("item", True, ("itemid", "productid", "product", "stockcode", "sku", "movieid", "articleid", "article",
                          "asin", "productcode", "itemcode", "bookid", "trackid", "iid")),
    Target("time", True, ("timestamp", "datetime", "date", "invoicedate", "orderdate", "eventtime", "eventdate", "ts",
                          "transactiondate", "purchasedate", "createdat", "occurredat", "tdat")),
    Target("rating", False, ("stars", "score", "overall")),
    Target("quantity", False, ("qty", "units", "count", "pieces")),
    Target("signal", False, ("event", "eventtype", "eventname", "action", "behavior", "behaviour")),
    Target("basket", False, ("basketid", "orderid", "order", "invoice", "invoiceno", "invoiceid", "transactionid",
                             "receiptid", "ordernumber", "orderno")),
    Target("text", False, ("description", "productname", "itemname", "title", "name", "productdescription")),
)  # fmt: skip
ITEM_TARGETS = (
    Target("item", True, TARGETS[1].synonyms),
    Target("text", True, TARGETS[-1].synonyms),
    Target("category", False, ("categoryid", "categoryname", "department", "productcategory", "genre", "producttype")),
    Target("price", False, ("unitprice", "listprice", "currentprice", "retailprice", "amount")),
    Target("in_stock", False, ("instock", "available", "isavailable", "isactive")),
)
OWN: pa.Schema = pa.schema(
    [
        pa.field("user", pa.string(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("rating", pa.float64()),
        pa.field("quantity", pa.float64()),
        pa.field("signal", pa.string()),
        pa.field("basket", pa.string()),
        pa.field("text", pa.string()),
    ]
)
OWN_ITEMS: pa.Schema = pa.schema(
    [
        pa.field("item", pa.string(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("category", pa.string()),
        pa.field("price", pa.float64()),
        pa.field("in_stock", pa.bool_()),
    ]
)
_SIGNALS = {
    "view": "view", "pageview": "view", "productview": "view", "click": "view", "viewitem": "view", "pv": "view",
    "cart": "cart", "addtocart": "cart", "cartadd": "cart", "basket": "cart", "fav": "cart", "wishlist": "cart",
    "purchase": "purchase", "buy": "purchase", "order": "purchase", "transaction": "purchase", "sale": "purchase",
    "rating": "rating", "review": "rating",
}  # fmt: skip
_REPEAT_SHARE = 0.1


@dataclass(frozen=True)
class OwnInteractions:
    """`rows`: as INTERACTIONS; `returned`: rows left out for a quantity of 0 or less; `other`: for another signal."""

    rows: pl.DataFrame
    returned: int
    other: int


def interactions_of(rows: pl.DataFrame) -> OwnInteractions:
    """Rows typed by OWN as interactions.

    Rows with a quantity of 0 or less are returns. Signals are told by their common names; a row whose signal is no
    view, cart add, purchase or rating (a removal, a search) is left out; without a signal it is a purchase, with a
    rating column a rating.
    """
    none = pl.lit(None, pl.String)
    if "signal" in rows.columns:
        name = pl.col("signal").str.to_lowercase().str.replace_all(r"[^a-z]", "")
        told = name.replace_strict(_SIGNALS, default=None, return_dtype=pl.String)
        signal = pl.when(pl.col("signal").is_null()).then(pl.lit("purchase")).otherwise(told)
    else:
        signal = pl.lit("rating" if "rating" in rows.columns else "purchase")
    returned = (pl.col("quantity") <= 0).fill_null(False) if "quantity" in rows.columns else pl.lit(False)
    basket = pl.col("basket") if "basket" in rows.columns else none
    marked = rows.with_columns(_returned=returned, signal=signal, basket=basket)
    kept = marked.filter(~pl.col("_returned"))
    known = kept.filter(pl.col("signal").is_not_null())
    return OwnInteractions(known.select(INTERACTIONS.names), rows.height - kept.height, kept.height - known.height)


def takes_again(log: Log) -> bool:
    """Do people take the same things again: of what was taken by people known before, is at least a tenth known?

    Where something was bought or rated, only that counts: who buys what was looked at does not buy it again.
    """
    log = log.keep(log.bought)
    pairs = log.users.astype(np.int64) * len(log.item_ids) + log.items
    order = np.lexsort((log.baskets, pairs))
    pair, basket = pairs[order], log.baskets[order]
    again = (pair[1:] == pair[:-1]) & (basket[1:] != basket[:-1])
    later = int((log.cutoffs > log.starts[log.users]).sum())
    return bool(again.sum() >= _REPEAT_SHARE * max(later, 1))
