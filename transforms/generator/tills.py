"""CUSTOMER_TRANSACTIONS and CUSTOMER_TRANSACTION_ITEMS of made-up orders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.generator.baskets import draw_lines, draw_returned_lines
from transforms.generator.catalogue import Catalogue
from transforms.generator.frames import finish, identifiers
from transforms.generator.orders import Orders
from transforms.generator.places import BY_CODE
from transforms.generator.population import CHANNELS, Population
from transforms.generator.purchases import STATUSES, TYPES, draw_purchases, draw_returns
from transforms.generator.randomness import choose, gather

TAX_PERCENT, PROMOTION_PERCENT = 20, 10
SHIPPING_CENTS, FREE_SHIPPING_CENTS = 395, 5_000
_REASONS = ("Does not fit", "Damaged", "Changed mind", "Wrong item")
_PAYMENTS = ("CARD", "WALLET", "MOBILE", "CASH", "CRYPTO")
_CARDS = ("VISA", "MASTERCARD", "AMEX", "DISCOVER")


@dataclass(frozen=True)
class Sales:
    """Both tables in order of time, the orders behind them, and causes: touch and order (rows)."""

    transactions: pa.Table
    items: pa.Table
    orders: Orders
    causes: pl.DataFrame


def draw_sales(
    rng: np.random.Generator,
    population: Population,
    catalogue: Catalogue,
    causes: pl.DataFrame,
    shard: int,
    end_us: int,
) -> Sales:
    """Purchases, their returns and the lines of both.

    TOTAL_AMOUNT = sum of TOTAL_PRICE + TAX_AMOUNT + SHIPPING_AMOUNT - DISCOUNT_AMOUNT, to the cent, also for returns,
    whose quantities and amounts are negative.
    """
    purchases = draw_purchases(rng, population, causes, end_us)
    returns = draw_returns(rng, population, purchases, end_us)
    lines = draw_lines(rng, population, catalogue, purchases)
    back = draw_returned_lines(rng, lines, returns)
    bought = purchases.with_row_index("source").select(
        "source", "at", "record", "channel", "status", "touch", kind=pl.lit(0, pl.Int64), sign=pl.lit(1, pl.Int64)
    )
    some = returns.with_row_index("source").filter(pl.col("source").is_in(back["return_row"].unique()))
    origin = purchases[some["of"].to_numpy()]
    returned = some.select(
        "source", "at", origin["record"], origin["channel"], status=pl.lit(0, pl.Int64), touch=pl.lit(-1, pl.Int64),
        kind="kind", sign=pl.lit(-1, pl.Int64),
    )  # fmt: skip
    frame = pl.concat([bought, returned], how="vertical_relaxed").sort("at", "sign", "source", maintain_order=True)
    frame = frame.with_columns(TRANSACTION_ID=identifiers("T", shard, frame.height)).with_row_index("order")
    items = _join_lines(frame, lines, back)
    frame = _price(rng, frame, items)
    orders = Orders(
        frame.select(
            "TRANSACTION_ID", "record", "at", "total", sold=(pl.col("kind") == 0) & (pl.col("status") == 0),
            returned=pl.col("kind") > 0, channel=gather(CHANNELS, frame["channel"].to_numpy()),
            campaign=pl.lit(-1, pl.Int64),
        ),
        items.filter(pl.col("sign") > 0).select(pl.col("order").cast(pl.Int64), "product"),
    )  # fmt: skip
    caused = frame.filter(pl.col("touch") >= 0).select("touch", pl.col("order").cast(pl.Int64))
    return Sales(_write_transactions(rng, frame, population), _write_items(items, catalogue), orders, caused)


def _join_lines(frame: pl.DataFrame, lines: pl.DataFrame, back: pl.DataFrame) -> pl.DataFrame:
    """All lines with their transaction, in order of it."""
    numbers = frame.select("source", "order", "TRANSACTION_ID", "kind")
    sold = numbers.filter(pl.col("kind") == 0)
    taken = numbers.filter(pl.col("kind") > 0)
    out = lines.rename({"purchase": "source"}).with_columns(sign=pl.lit(1, pl.Int64))
    out = out.with_columns(pl.col("source").cast(pl.UInt32)).join(sold, on="source", maintain_order="left")
    home = back.rename({"return_row": "source"}).with_columns(pl.col("source").cast(pl.UInt32))
    home = home.join(taken, on="source", maintain_order="left")
    both = pl.concat([out, home.select(out.columns)]).sort("order", maintain_order=True)
    return both.with_columns(number=pl.int_range(pl.len()).over("order") + 1)


def _price(rng: np.random.Generator, frame: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Adds items_total, tax, shipping, discount and total (cents) to each transaction, all with its sign."""
    sums = np.bincount(items["order"].to_numpy(), items["total"].to_numpy() * items["sign"].to_numpy(), frame.height)
    goods = np.round(sums).astype(np.int64)
    bought = (frame["kind"] == 0).to_numpy()
    at_till = (frame["channel"] == CHANNELS.index("POS")).to_numpy()
    shipping = np.where(bought & ~at_till & (goods < FREE_SHIPPING_CENTS), SHIPPING_CENTS, 0)
    promoted = bought & ((frame["touch"] >= 0).to_numpy() & (rng.random(frame.height) < 0.5))
    discount = np.where(promoted, goods * PROMOTION_PERCENT // 100, 0)
    tax = (goods - discount) * TAX_PERCENT // 100
    return frame.with_columns(
        goods=pl.Series(goods), tax=pl.Series(tax), shipping=pl.Series(shipping), discount=pl.Series(discount),
        total=pl.Series(goods + tax + shipping - discount),
    )  # fmt: skip


def _write_transactions(rng: np.random.Generator, frame: pl.DataFrame, population: Population) -> pa.Table:
    size, channel = frame.height, frame["channel"].to_numpy()
    record = frame["record"].to_numpy()
    at_till = pl.Series(channel == CHANNELS.index("POS"))
    payment = choose(rng, size, (0.68, 0.16, 0.08, 0.0, 0.01))
    payment = np.where(at_till.to_numpy() & (rng.random(size) < 0.25), _PAYMENTS.index("CASH"), payment)
    country = population.habit("country", np.maximum(record, 0))
    currency = np.select([country == BY_CODE["GBR"], country == BY_CODE["USA"], country == BY_CODE["SWE"],
                          country == BY_CODE["CHE"], country == BY_CODE["POL"]], range(5), 5)  # fmt: skip
    bought = frame["kind"] == 0
    points = frame["total"].clip(0) // 100
    member = pl.Series((record >= 0) & (frame["status"].to_numpy() == 0))
    return finish("CUSTOMER_TRANSACTIONS", pl.DataFrame({
        "TRANSACTION_ID": frame["TRANSACTION_ID"],
        "CUSTOMER_ID": population.customer_ids(record),
        "CHANNEL": gather(CHANNELS, channel),
        "TRANSACTION_DATE": frame["at"],
        "TRANSACTION_TYPE": gather(TYPES, frame["kind"].to_numpy()),
        "TOTAL_AMOUNT": frame["total"],
        "TAX_AMOUNT": frame["tax"],
        "SHIPPING_AMOUNT": frame["shipping"],
        "CURRENCY_CODE": gather(("GBP", "USD", "SEK", "CHF", "PLN", "EUR"), currency),
        "PAYMENT_METHOD": gather(_PAYMENTS, payment),
        "CARD_TYPE": gather(_CARDS, np.where(payment == 0, choose(rng, size, (6, 3, 1, 0.3)), -1)),
        "STORE_ID": _code("S", rng.integers(1, 13, size), at_till),
        "ONLINE_ORDER_ID": ("O-" + frame["TRANSACTION_ID"]).set(at_till, None),
        "LOYALTY_POINTS_EARNED": points.set(~(member & bought), 0).set(pl.Series(record < 0), None),
        "LOYALTY_POINTS_REDEEMED": pl.Series(np.zeros(size, np.int64)).set(pl.Series(record < 0), None),
        "DISCOUNT_AMOUNT": frame["discount"],
        "PROMOTION_CODE": gather(("THANKYOU10",), np.where(frame["discount"].to_numpy() > 0, 0, -1)),
        "TRANSACTION_STATUS": gather(STATUSES, frame["status"].to_numpy()),
        "CASHIER_ID": _code("K", rng.integers(1, 61, size), at_till),
        "TERMINAL_ID": _code("T", rng.integers(1, 5, size), at_till),
        "RECEIPT_NUMBER": ("R-" + frame["TRANSACTION_ID"]).set(~at_till, None),
        "REFUND_REASON": gather(_REASONS, np.where(bought.to_numpy(), -1, rng.integers(0, len(_REASONS), size))),
    }))  # fmt: skip


def _code(letter: str, number: np.ndarray, where: pl.Series) -> pl.Series:
    return (letter + pl.Series(number).cast(pl.String).str.zfill(3)).set(~where, None)


def _write_items(items: pl.DataFrame, catalogue: Catalogue) -> pa.Table:
    product = catalogue.products[items["product"].to_numpy()]
    kind = items["kind"].to_numpy()
    status = np.where(kind == 0, 0, np.where(kind == TYPES.index("EXCHANGE"), 2, 1))
    return finish("CUSTOMER_TRANSACTION_ITEMS", items.select(
        product["PRODUCT_ID"], product["PRODUCT_NAME"], product["CATEGORY"], product["SUBCATEGORY"],
        product["BRAND"], product["SKU"], "TRANSACTION_ID",
        ITEM_ID=pl.format("{}-{}", "TRANSACTION_ID", "number"),
        QUANTITY=pl.col("quantity") * pl.col("sign"),
        UNIT_PRICE="cents",
        TOTAL_PRICE=pl.col("total") * pl.col("sign"),
        DISCOUNT_PERCENTAGE=pl.col("percent") * 100,
        DISCOUNT_AMOUNT="reduction",
        ITEM_RATING="rating",
        ITEM_STATUS=gather(("SOLD", "RETURNED", "EXCHANGED"), status),
        SIZE="size",
        COLOR="colour",
        WEIGHT=product["grams"] // 10,
    ))  # fmt: skip
