"""From a list's bytes to raw lines, in every format. Knows no rule about what a column may hold.

opening → zip_parts → kind ┬ csv_list:   encoding → csv_records ┬ header, columns ┐
                           ├ source:     formats of features    ┘                 ├ raw lines
                           └ json_list:  json_array → objects                     ┘
"""

from typing import Literal, get_args

Form = Literal["csv", "jsonl", "json", "xlsx", "parquet"]
FORMS: tuple[Form, ...] = get_args(Form)
