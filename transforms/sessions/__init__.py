"""Room for event-time sessions: cut and summarise."""
