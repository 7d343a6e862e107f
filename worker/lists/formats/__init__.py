"""From a list's bytes to raw lines, in every format. Knows no rule about what a column may hold.

opening → packed → kind ┬ csv_list:   encoding → csv_records ┬ table (header, columns) ┐
                        ├ source:     formats of features    ┘                         ├ raw lines
                        └ json_list:  json_shape → json_lines, json_array → objects    ┘
"""
