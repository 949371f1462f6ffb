"""The warehouse's star schemas: what `templates/snowflake` declares, and the statements that load and check it."""
