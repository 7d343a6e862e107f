"""QR pictures of the links of a report, for letters: one file for each row, in a folder that is made for them."""

import io
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from worker.foundation.private_files import new_file
from worker.store.operators.report_rows import LineFacts

MISSING = "QR pictures need segno: install the extra, pip install 'onboarding-worker[qr]'"
# 15 % of the picture may be lost to dirt and folds.
ERROR_CORRECTION = "m"
# Pixels of one square. A stable link makes 37 squares with the border, so 25 mm are printed with more than 300 dpi.
SCALE = 10
BORDER = 4  # squares; ISO/IEC 18004 asks for four


def is_possible() -> bool:
    return find_spec("segno") is not None


def folder_of(out: Path) -> Path:
    """Where the pictures of a report go: beside it, so that a mail merge finds them by a relative name."""
    return out.with_name(f"{out.stem}-qr")


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """The folder, readable for its owner alone. It goes again with all that is in it if the block fails.

    Raises FileExistsError if it is there: pictures of an earlier report beside new ones would reach other persons. And
    OSError.
    """
    path.mkdir(mode=0o700)
    try:
        yield
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def drawn(lines: Iterable[LineFacts], folder: Path) -> Iterator[LineFacts]:
    """The lines, after the picture of each link is written. Raises OSError."""
    for line in lines:
        if line.link:
            with open(new_file(folder / name_of(line)), "wb") as stream:
                stream.write(picture(line.link))
        yield line


def name_of(line: LineFacts) -> str:
    return f"{line.row}.png"


def picture(link: str) -> bytes:
    """The link as a PNG."""
    import segno

    made = io.BytesIO()
    segno.make_qr(link, error=ERROR_CORRECTION, boost_error=False).save(made, kind="png", scale=SCALE, border=BORDER)
    return made.getvalue()
