"""How a customer uses the shop's site, answers its messages and needs its support, and what others say."""

from __future__ import annotations

import polars as pl

from transforms.gold.frames import ID, mean_of_hundredths, most_frequent, plausible


def _count(condition: pl.Expr, name: str) -> pl.Expr:
    return condition.fill_null(False).sum().cast(pl.Int64).alias(name)


def _rows(name: str) -> pl.Expr:
    return pl.len().cast(pl.Int64).alias(name)


def summarise_sessions(sessions: pl.DataFrame) -> pl.DataFrame:
    """Sessions, conversions and the last session of each customer."""
    return sessions.group_by(ID).agg(
        _rows("sessions_count"),
        _count(pl.col("CONVERSION_EVENT"), "converted_sessions_count"),
        pl.col("SESSION_START").max().alias("last_session_at"),
    )


def summarise_events(events: pl.DataFrame) -> pl.DataFrame:
    """Page events of each customer."""
    counts = events.group_by(ID).agg(
        _rows("events_count"),
        _count(pl.col("EVENT_TYPE") == "PAGE_VIEW", "page_views_count"),
        _count(pl.col("EVENT_TYPE") == "CART_ADD", "cart_adds_count"),
    )
    viewed = most_frequent(events, "CATEGORY_VIEWED").rename({"CATEGORY_VIEWED": "favourite_viewed_category"})
    return counts.join(viewed, on=ID, how="left")


def summarise_preferences(preferences: pl.DataFrame) -> pl.DataFrame:
    """Preferences in force."""
    return preferences.group_by(ID).agg(_count(pl.col("PREFERENCE_STATUS") == "ACTIVE", "active_preferences_count"))


def summarise_tickets(tickets: pl.DataFrame) -> pl.DataFrame:
    """Tickets, what most are about and how long they took."""
    name = "CUSTOMER_SERVICE_TICKETS"
    counts = tickets.group_by(ID).agg(
        _rows("tickets_count"),
        _count(pl.col("TICKET_STATUS").is_in(["OPEN", "IN_PROGRESS"]), "open_tickets_count"),
        pl.col("CREATION_DATE").max().alias("last_ticket_at"),
        mean_of_hundredths(plausible(name, "FIRST_RESPONSE_TIME")).alias("average_first_response_minutes"),
        mean_of_hundredths(plausible(name, "TOTAL_RESOLUTION_TIME")).alias("average_resolution_minutes"),
    )
    category = most_frequent(tickets, "TICKET_CATEGORY").rename({"TICKET_CATEGORY": "main_ticket_category"})
    return counts.join(category, on=ID, how="left")


def summarise_interactions(interactions: pl.DataFrame) -> pl.DataFrame:
    """Contacts with support."""
    return interactions.group_by(ID).agg(
        _rows("interactions_count"), _count(pl.col("ESCALATION_LEVEL") > 0, "escalations_count")
    )


def summarise_satisfaction(tickets: pl.DataFrame, interactions: pl.DataFrame) -> pl.DataFrame:
    """The mean of all scores given, on tickets and on contacts."""
    on_tickets = plausible("CUSTOMER_SERVICE_TICKETS", "CUSTOMER_SATISFACTION").alias("score")
    on_contacts = plausible("CUSTOMER_SERVICE_INTERACTIONS", "SATISFACTION_SCORE").alias("score")
    scores = pl.concat([tickets.select(ID, on_tickets), interactions.select(ID, on_contacts)]).drop_nulls("score")
    return scores.group_by(ID).agg(mean_of_hundredths(pl.col("score")).alias("average_satisfaction_score"))


def summarise_profiles(profiles: pl.DataFrame) -> pl.DataFrame:
    """Profiles of third parties, and the influence that the latest one reports."""
    score = plausible("EXTERNAL_CUSTOMER_PROFILES", "INFLUENCE_SCORE").alias("influence_score")
    updated = pl.coalesce("LAST_UPDATED", pl.col("PROFILE_DATE").cast(pl.Datetime("us", "UTC"))).alias("_updated")
    counts = profiles.group_by(ID).agg(_rows("external_profiles_count"))
    scored = profiles.select(ID, score, updated).drop_nulls("influence_score")
    latest = scored.sort(ID, "_updated", "influence_score", nulls_last=False).group_by(ID).last()
    return counts.join(latest.select(ID, "influence_score"), on=ID, how="left")


def summarise_sentiment(sentiment: pl.DataFrame) -> pl.DataFrame:
    """What is said by the customer in public."""
    score = plausible("EXTERNAL_CUSTOMER_SENTIMENT", "SENTIMENT_SCORE")
    scored = sentiment.with_columns(score.alias("_score")).drop_nulls("_score")
    # Of one moment the lowest: what is worse is what one should know.
    last = pl.col("_score").sort_by("SENTIMENT_DATE", -pl.col("_score"), nulls_last=False).last()
    return scored.group_by(ID).agg(
        mean_of_hundredths(pl.col("_score")).alias("average_sentiment_score"), last.alias("last_sentiment_score")
    )
