"""From a list's bytes to raw lines, in every format. Knows no rule about what a column may hold.

opening → packed → kind ┬ csv_list:   encoding → csv_records ┐
                        ├ workbook:   read_apart             ├ table (header, columns) ┐
                        │             └ xlsx, parquet        ┘                         ├ raw lines
                        └ json_list:  json_shape → json_lines, json_array → objects    ┘
"""
