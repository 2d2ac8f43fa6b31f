"""`python -m gateway`."""

import sys

from gateway.process.command_line import main

if __name__ == "__main__":  # children that decode media import this module too, and must not start anything
    sys.exit(main())
