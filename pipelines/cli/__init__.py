"""The commands as typer knows them: options and help. What they do is imported when they run."""
