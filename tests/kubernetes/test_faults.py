#!/usr/bin/python3
"""Workflows while the API server, the network, the operator and the service fail: see faults.py. SEED= replays, FAULTS= is for more."""
import sys

import faults

sys.exit(faults.main(["--verbose"]))
