"""Errors that a user caused and can mend; the command line prints them as one line, never as a traceback."""


class UserError(Exception):
    """Says what is wrong, where, and what to do about it.

    Args:
      what: the fact, without values of personal columns ("column QUANTITY is missing").
      where: the path, table or option it was seen in.
      remedy: the next step for the reader ("name it with --map QUANTITY=column").
    """

    def __init__(self, what: str, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(what, where, remedy)  # all three, so that the error survives pickling between workers

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.what}{place}" + (f"; {self.remedy}" if self.remedy else "")


class UsageError(UserError):
    """A command or an option is not used as it can be; the command line then exits with 2 and not with 1."""


class Unreachable(UserError):
    """A service does not answer; that passes by itself, and what ran before may wait for it."""


class SchemaMismatch(UserError):
    """Rows do not fit the table they are written to."""


class PartlyCommitted(UserError):
    """Another run committed part of this run's input in the meantime; running again takes the rest."""
