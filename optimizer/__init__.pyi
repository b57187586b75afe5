from optimizer.interface import (
    Cluster as Cluster,
)
from optimizer.interface import (
    FleetResult as FleetResult,
)
from optimizer.interface import (
    Layout as Layout,
)
from optimizer.interface import (
    Problem as Problem,
)
from optimizer.interface import (
    Result as Result,
)
from optimizer.interface import (
    SpecError as SpecError,
)
from optimizer.interface import (
    audit as audit,
)
from optimizer.interface import (
    certify as certify,
)
from optimizer.interface import (
    explain as explain,
)
from optimizer.interface import (
    place as place,
)
from optimizer.interface import (
    read_problem as read_problem,
)
from optimizer.interface import (
    solve as solve,
)
from optimizer.interface import (
    verify as verify,
)

__version__: str
