"""What users read: terminal output, the live panel, tables, and the HTML report."""
