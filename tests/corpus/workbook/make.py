import datetime

import xlsxwriter

header = [
    "Company",
    "Agency",
    "Phase",
    "Award Year",
    "UEI",
    "DUNS",
    "City",
    "State",
    "Zip",
    "Proposal Award Date",
    "Award Amount",
]
row = ["Quorvex Optics", "DOD", "Phase I", 2018, None, 153865951, "Cambridge", "MA", 2139]
with xlsxwriter.Workbook("awards.xlsx") as book:
    dates = book.add_format({"num_format": "yyyy-mm-dd"})
    notes, sheet = book.add_worksheet("Notes"), book.add_worksheet("Awards")
    notes.write(0, 0, "Exported for the review")
    notes.write(1, 0, "by hand")
    sheet.write(0, 0, "Awards of 2018")
    sheet.write_row(2, 0, header)
    sheet.write_row(3, 0, row)
    sheet.write_datetime(3, 9, datetime.datetime(2018, 3, 1), dates)
    sheet.write(3, 10, 149999.5)
