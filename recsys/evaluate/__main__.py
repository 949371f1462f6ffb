"""`python -m recsys.evaluate`; see `pipelines.judge`, which reads files and lakes."""

import sys

if __name__ == "__main__":
    from pipelines.console import answer
    from pipelines.judge import main

    answer(main, "--json" in sys.argv)
