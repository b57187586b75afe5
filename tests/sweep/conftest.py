import sys
from pathlib import Path

# `processes` stands beside the tests; worker processes need not import it.
sys.path.insert(0, str(Path(__file__).parent))
