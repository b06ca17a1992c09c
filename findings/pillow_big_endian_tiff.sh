#!/usr/bin/env bash
# Compressed TIFF files in big-endian order: some types come with their bytes swapped.
#
# Pillow 13.0.0, files by tifffile 2026.3.3. Guess beforehand: compression does not change the
# pixels that are read, in either byte order: they are right, or the file is refused.
#
# Seen: int16, int32 and float32 with Deflate in a big-endian file come with the bytes of each
# number swapped, without a word: 7 is read as 1792, 117440512 and 8.04e-41. The same files
# without compression, those in little-endian order, and uint16 with either compression are
# right. tifffile reads all of them back as they were.
#
# Why it matters: height models, thermal images and microscopy often are of these types. The
# wrong numbers are finite and vary as images do, so that nothing downstream complains.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io

import numpy as np
import PIL
import tifffile
from PIL import Image

SWAPPED = {"int16": 1792, "int32": 117440512, "float32": 8.0446e-41}
ramp = np.arange(12).reshape(3, 4) * 100 + 7


def read_back(values, compression, byteorder):
    file = io.BytesIO()
    tifffile.imwrite(
        file, values, compression=compression, byteorder=byteorder, photometric="minisblack"
    )
    file.seek(0)
    assert np.array_equal(tifffile.imread(file), values)
    file.seek(0)
    return np.asarray(Image.open(file))


print("Pillow", PIL.__version__)
for dtype in ("uint16", "int16", "int32", "float32"):
    values = ramp.astype(dtype)
    for compression in (None, "zlib"):
        for byteorder in "<>":
            found = read_back(values, compression, byteorder)
            is_swapped = bool(compression) and byteorder == ">" and dtype in SWAPPED
            if is_swapped:
                assert np.isclose(found[0, 0], SWAPPED[dtype], rtol=1e-4, atol=0)
                assert np.array_equal(found.astype(dtype).byteswap(), values)
            else:
                assert np.array_equal(found, values)
            state = "swapped" if is_swapped else "right"
            print(f"  {dtype:8} {compression or 'raw':5} {byteorder} {state}: {found[0, 0]} for 7")
PYTHON
