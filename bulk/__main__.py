"""`python -m bulk MANIFEST_OR_FOLDER --to OUT/`."""

import sys

from bulk.command import main
from whisper_client.command_line import run

if __name__ == "__main__":
    sys.exit(run(main))
