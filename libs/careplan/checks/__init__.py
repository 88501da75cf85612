"""The checks of the standard: item, row, file, sending unit.

``item`` one cell · ``row`` cells of a row against each other and the file name · ``tallies`` rows of a file against
each other · ``scan`` one file · ``composition`` the names of a message · ``relations`` files against each other ·
``unit`` all of it.
"""

from careplan.checks.about import Context, OfficeFacts
from careplan.checks.unit import FileReport, UnitReport, check_unit

__all__ = ["Context", "FileReport", "OfficeFacts", "UnitReport", "check_unit"]
