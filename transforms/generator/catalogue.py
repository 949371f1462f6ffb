"""Products: made up, or those that real orders hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from transforms.generator.categories import CATEGORIES, FEES
from transforms.generator.randomness import choose, gather, stream, zipf
from transforms.generator.spec import GeneratorSpec

# Category: subcategories, nouns, usual price in cents.
_SHELVES: dict[str, tuple[str, str, int]] = {
    "Clothing": ("Tops Trousers Knitwear Coats", "Shirt Jumper Coat Jeans Cardigan Blouse Jacket Skirt", 3_900),
    "Shoes": ("Trainers Boots Sandals", "Trainer Boot Sandal Loafer Brogue Slipper", 5_900),
    "Kitchen": ("Cookware Tableware Storage", "Mug Pan Bowl Plate Teapot Jar Kettle Knife", 1_800),
    "Home decor": ("Textiles Frames Ornaments", "Cushion Frame Vase Clock Rug Throw Mirror", 2_400),
    "Lighting": ("Lamps Candles Lanterns", "Lamp Candle Lantern Bulb Garland", 2_900),
    "Garden": ("Plants Tools Furniture", "Planter Trowel Bench Feeder Hose Parasol", 2_600),
    "Toys": ("Games Dolls Building Outdoor", "Puzzle Doll Kite Robot Blocks Teddy Train", 1_700),
    "Books": ("Fiction Cooking Travel Children", "Novel Cookbook Atlas Diary Guide", 1_200),
    "Beauty": ("Skin Hair Scent", "Soap Balm Serum Shampoo Scent Brush", 1_500),
    "Sports": ("Fitness Cycling Outdoor", "Mat Helmet Bottle Tent Gloves Racket", 3_400),
    "Electronics": ("Audio Phones Smart-home", "Headphones Speaker Charger Tracker Camera", 7_900),
    "Stationery": ("Paper Pens Wrap", "Notebook Pen Card Ribbon Calendar", 700),
}
_LOOKS = "Classic Vintage Modern Rustic Striped Spotted Floral Compact Deluxe Everyday Nordic Retro".split()  # noqa: SIM905
_BRANDS = (  # noqa: SIM905
    "Alderbrook Birchwood Castellan Dovetail Eastmoor Fennwick Gullane Hartfell Ivelle Juniper Kestrel Larkspur "
    "Merriden Northlight Oakhaven Pemberly Quillon Rivelin Saltmarsh Thornbury Underhill Vesper Wrenfield Yarrow"
).split()
COLOURS = ("RED", "BLUE", "GREEN", "BLACK", "WHITE", "PINK", "GREY", "NATURAL")
SIZES = ("XS", "S", "M", "L", "XL")
_SIZED = ("Clothing", "Shoes")


@dataclass(frozen=True)
class Catalogue:
    """All products, those of a category together, the best-selling first.

    Attributes:
      products: PRODUCT_ID, PRODUCT_NAME, category (index), CATEGORY, SUBCATEGORY, BRAND, SKU, cents, grams.
      categories: their names.
      popularity: share of each category in what is sold; 0 for one that nobody browses.
    """

    products: pl.DataFrame
    categories: tuple[str, ...]
    popularity: np.ndarray

    def draw(self, rng: np.random.Generator, category: np.ndarray) -> np.ndarray:
        """A product (row of `products`) of each category; best-sellers more often, by a power law."""
        counts = np.bincount(self.products["category"].to_numpy(), minlength=len(self.categories))
        starts = np.cumsum(counts) - counts
        return starts[category] + (rng.random(len(category)) ** 2.2 * counts[category]).astype(np.int64)


def draw_catalogue(spec: GeneratorSpec) -> Catalogue:
    """`spec.products` products over twelve categories, the same for every shard."""
    rng = stream(spec.seed, "catalogue")
    names, size = tuple(_SHELVES), spec.products
    popularity = zipf(len(names), 6.0)
    category = np.concatenate([np.arange(len(names)), choose(rng, size - len(names), popularity)])
    category.sort()
    shelves = [(s, n, price) for subs, nouns, price in _SHELVES.values() for s, n in [(subs.split(), nouns.split())]]
    sub = [shelves[c][0][int(u * len(shelves[c][0]))] for c, u in zip(category, rng.random(size), strict=True)]
    noun = [shelves[c][1][int(u * len(shelves[c][1]))] for c, u in zip(category, rng.random(size), strict=True)]
    brand = gather(_BRANDS, choose(rng, size, zipf(len(_BRANDS), 4.0)))
    look = gather(_LOOKS, rng.integers(0, len(_LOOKS), size))
    usual = np.array([shelf[2] for shelf in shelves])[category]
    cents = np.maximum((usual * rng.lognormal(-0.1, 0.5, size)).astype(np.int64) // 50 * 50 - 1, 49)
    number = pl.Series(rng.permutation(size) + 1).cast(pl.String).str.zfill(6)
    products = pl.DataFrame({
        "PRODUCT_ID": "P" + number,
        "PRODUCT_NAME": brand + " " + look + " " + pl.Series(noun),
        "category": category,
        "CATEGORY": gather(names, category),
        "SUBCATEGORY": pl.Series(sub).str.replace("-", " "),
        "BRAND": brand,
        "SKU": "SKU-" + number,
        "cents": cents,
        "grams": (rng.lognormal(5.8, 0.8, size)).astype(np.int64) + 20,
        "sized": np.isin(category, [names.index(name) for name in _SIZED]),
    })  # fmt: skip
    return Catalogue(products, names, popularity / popularity.sum())


def read_catalogue(items: pl.DataFrame) -> Catalogue:
    """The catalogue behind real items (contract columns): each product with its commonest name and category."""
    products = (
        items.lazy().filter(pl.col("PRODUCT_ID").is_not_null())
        .group_by("PRODUCT_ID", "PRODUCT_NAME", "CATEGORY").agg(pl.len().alias("lines"))
        .sort("PRODUCT_ID", pl.col("PRODUCT_NAME").is_null(), -pl.col("lines").cast(pl.Int64), "PRODUCT_NAME")
        .group_by("PRODUCT_ID", maintain_order=True)
        .agg(pl.col("PRODUCT_NAME", "CATEGORY").first(), pl.col("lines").sum())
        .with_columns(category=pl.col("CATEGORY").replace_strict(
            CATEGORIES, range(len(CATEGORIES)), default=len(CATEGORIES) - 1, return_dtype=pl.Int64))
        .sort("category", -pl.col("lines").cast(pl.Int64), "PRODUCT_ID").collect()
    )  # fmt: skip
    sold = np.bincount(products["category"].to_numpy(), products["lines"].to_numpy(), minlength=len(CATEGORIES))
    sold[CATEGORIES.index(FEES)] = 0
    return Catalogue(products, CATEGORIES, sold / sold.sum())
