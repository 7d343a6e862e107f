"""From a list's bytes to raw lines, in every format. Knows no rule about what a column may hold.

opening → kind ┬ csv_list ┬ source: header, columns ┐
               ├ formats of features ┘               ├ raw lines
               └ json_list: objects                  ┘
"""

from typing import Literal, get_args

Form = Literal["csv", "jsonl", "json", "xlsx", "parquet"]
FORMS: tuple[Form, ...] = get_args(Form)
