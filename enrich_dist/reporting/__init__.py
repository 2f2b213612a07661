"""Everything a person reads: terminal output, the live panel, tables, and the HTML report."""
