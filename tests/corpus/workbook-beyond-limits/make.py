import xlsxwriter

with xlsxwriter.Workbook("far.xlsx") as book:
    sheet = book.add_worksheet()
    sheet.write(0, 0, "name")
    sheet.write(1_048_575, 16_383, "x")
