"""Which category a gift-shop product belongs to, by words in its description; the first match wins."""

from __future__ import annotations

import polars as pl

FEES = "Postage & fees"
OTHER = "Other gifts"

# Upper-case words as the till writes them; a word may be the beginning of a longer one.
KEYWORDS: tuple[tuple[str, str], ...] = (
    (FEES, "POSTAGE CARRIAGE MANUAL DISCOUNT ADJUST BANK_CHARGE AMAZON SAMPLE TEST_PRODUCT BAD_DEBT VOUCHER"),
    ("Christmas", "CHRISTMAS XMAS ADVENT SANTA REINDEER SNOWFLAKE SNOWMAN BAUBLE NATIVITY ROBIN STOCKING FAIRY_TREE"),
    ("Candles & lighting", "CANDLE T-LIGHT TEALIGHT LIGHT LANTERN LAMP INCENSE NIGHTLIGHT CHANDELIER CANDEL"),
    ("Bags & purses", "BAG PURSE SHOPPER TOTE WALLET HANDBAG SUITCASE LUGGAGE RUCKSACK"),
    ("Stationery & wrap", "CARD WRAP PAPER NOTEBOOK JOURNAL PENCIL PEN_ RIBBON STICKER STATIONERY ERASER DIARY "
     "CHALK TAPE RULER PASSPORT ENVELOPE ORGANISER CALENDAR BOOK TISSUE"),
    ("Kitchen & dining", "MUG CUP PLATE BOWL JUG TEAPOT TEA_ CAKE BAKING LUNCH KITCHEN SPOON FORK CUTLERY NAPKIN "
     "APRON TRAY COASTER GLASS BOTTLE BISCUIT TIN JAM_ JELLY EGG RECIPE OVEN SAUCER PANTRY TOAST BREAKFAST PICNIC "
     "COOK DRINK BREAD SUGAR COFFEE DISH FRIDGE WASHING_UP"),
    ("Jewellery & accessories", "NECKLACE BRACELET EARRING RING_ BROOCH JEWEL HAIR SCARF UMBRELLA KEY_RING KEYRING "
     "HAND_WARMER BANGLE BEAD CHARM WATCH HAT_ SLIPPER SOCK PARASOL PONCHO "
     "FAN_"),
    ("Toys & games", "TOY GAME PUZZLE DOLL JIGSAW CHILDREN SKITTLE DOMINO BALLOON TEDDY PLAY KIDS BABY RABBIT SPACEBOY "
     "DOLLY DINOSAUR SOLDIER MAGIC CIRCUS YO-YO KITE SKIPPING GLIDER COLOURING CRAYON BINGO SPINNING FELTCRAFT "
     "TATTOO PAINT MODELLING"),
    ("Garden", "GARDEN PLANT FLOWER BIRD HERB WATERING POT_ HOOK HANGING_BASKET TROWEL SEED FEEDER GNOME WINDMILL"),
    ("Bathroom & care", "SOAP BATH TOWEL HOT_WATER LAVENDER PLASTER COSMETIC TOILET MIRROR SPONGE LIP"),
    ("Party", "PARTY BUNTING BIRTHDAY WEDDING GARLAND CELEBRAT COCKTAIL DISCO"),
    ("Home decor", "FRAME CLOCK CUSHION SIGN METAL DRAWER KNOB CABINET BOX HEART VASE WICKER DECORATION DOORMAT CHAIR "
     "STOOL PHOTO PICTURE WALL BASKET HOLDER ORNAMENT RACK SHELF STAND BLOCK DOORSTOP TRINKET QUILT THROW "
     "DOOR_MAT CHEST KEY_FOB MEMO"),
)  # fmt: skip

CATEGORIES: tuple[str, ...] = (*dict.fromkeys(name for name, _ in KEYWORDS), OTHER)


def categorise(descriptions: pl.Series) -> pl.Series:
    """The category of each description; a missing description, or one without a known word, is "Other gifts"."""
    text = descriptions.fill_null("").str.to_uppercase() + " "
    found = pl.lit(OTHER)
    for category, words in reversed(KEYWORDS):
        pattern = "|".join(rf"\b{word.replace('_', ' ')}" for word in words.split())
        found = pl.when(pl.col("text").str.contains(pattern)).then(pl.lit(category)).otherwise(found)
    return pl.DataFrame({"text": text}).select(found.alias("category"))["category"]
