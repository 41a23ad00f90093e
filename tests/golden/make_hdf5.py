"""Makes small.h5 with the reference library; a FILE as argument is printed instead.

    python make_hdf5.py [FILE]
"""
import pathlib
import sys

import h5py
import numpy as np

if len(sys.argv) > 1:
    with h5py.File(sys.argv[1]) as f:
        print(dict(f.attrs))
        f.visititems(lambda name, x: print(name, x, x[()] if isinstance(x, h5py.Dataset) else ""))
else:
    with h5py.File(pathlib.Path(__file__).parent / "small.h5", "w", track_order=False) as f:
        f.attrs["rule"] = np.bytes_("plain")
        f.attrs["variable"] = "of any length"
        f["group/ints"] = np.array([3, -4], np.int64)
        f.create_dataset("packed", data=np.full(1000, 0.25, np.float32), compression="gzip")
        f["half"] = np.array([1.5], np.float16)
        f["big endian"] = np.array([1.5], ">f4")
