"""Names of US states and territories with their postal codes. Data only; does not cover other countries."""

from __future__ import annotations

from typing import Final

_NAMES: Final = """
AL Alabama;AK Alaska;AZ Arizona;AR Arkansas;CA California;CO Colorado;CT Connecticut;DE Delaware;FL Florida;
GA Georgia;HI Hawaii;ID Idaho;IL Illinois;IN Indiana;IA Iowa;KS Kansas;KY Kentucky;LA Louisiana;ME Maine;MD Maryland;
MA Massachusetts;MI Michigan;MN Minnesota;MS Mississippi;MO Missouri;MT Montana;NE Nebraska;NV Nevada;
NH New Hampshire;NJ New Jersey;NM New Mexico;NY New York;NC North Carolina;ND North Dakota;OH Ohio;OK Oklahoma;
OR Oregon;PA Pennsylvania;RI Rhode Island;SC South Carolina;SD South Dakota;TN Tennessee;TX Texas;UT Utah;VT Vermont;
VA Virginia;WA Washington;WV West Virginia;WI Wisconsin;WY Wyoming;DC District of Columbia;DC Washington DC;
DC D.C.;PR Puerto Rico;GU Guam;VI Virgin Islands;VI U.S. Virgin Islands;VI US Virgin Islands;AS American Samoa;
MP Northern Mariana Islands;FM Federated States of Micronesia;MH Marshall Islands;PW Palau
"""

# "NEW YORK" -> "NY"
STATE_CODES: Final = {
    entry.strip()[3:].upper(): entry.strip()[:2] for entry in _NAMES.replace("\n", "").split(";") if entry.strip()
}
