"""`python -m pipefleet`, where the command itself is not installed."""

import sys

from pipefleet.command_line import main

if __name__ == "__main__":
    sys.exit(main())
