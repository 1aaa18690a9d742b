"""An nbdkit disk whose drive cache forgets: what was written and not flushed is gone when nbdkit is killed.

    nbdkit python volatile_disk.py path=DISK.img [luck=PERCENT] [seed=N]

Writes stay in memory until a FLUSH, or go to the file at once with FUA, as the kernel asks of a drive with a volatile
write cache. With `luck`, that share of the blocks reaches the file at once although nobody asked: drives
write back in an order of their own, so after a cut later blocks may be there while earlier ones are not.
"""

import builtins
import os
import random

import nbdkit

API_VERSION = 2
BLOCK = 4096

path = None
luck = 0
chance = random.Random(1)
disk = -1
# Block number to content; what a power cut takes.
cache = {}


def config(key, value):
    global path, luck
    if key == "path":
        path = value
    elif key == "luck":
        luck = int(value)
    elif key == "seed":
        chance.seed(int(value))
    else:
        raise RuntimeError(f"unknown parameter {key}")


def get_ready():
    global disk
    disk = os.open(path, os.O_RDWR)


def thread_model():
    return nbdkit.THREAD_MODEL_SERIALIZE_ALL_REQUESTS


def open(readonly):
    return 1


def get_size(handle):
    return os.stat(path).st_size


def can_write(handle):
    return True


def can_flush(handle):
    return True


def can_fua(handle):
    return nbdkit.FUA_NATIVE


def can_multi_conn(handle):
    return False


def block_at(number):
    kept = cache.get(number)
    return kept if kept is not None else os.pread(disk, BLOCK, number * BLOCK)


def pieces(length, offset):
    """Cuts a request at block borders: (place in the request, block, place in the block, length)."""
    done = 0
    while done < length:
        number, at = divmod(offset + done, BLOCK)
        size = builtins.min(BLOCK - at, length - done)
        yield done, number, at, size
        done += size


def pread(handle, buffer, offset, flags):
    for done, number, at, size in pieces(len(buffer), offset):
        buffer[done:done + size] = block_at(number)[at:at + size]


def pwrite(handle, buffer, offset, flags):
    through = bool(flags & nbdkit.FLAG_FUA)
    for done, number, at, size in pieces(len(buffer), offset):
        block = bytearray(block_at(number))
        block[at:at + size] = buffer[done:done + size]
        if through or chance.randrange(100) < luck:
            os.pwrite(disk, block, number * BLOCK)
            cache.pop(number, None)
        else:
            cache[number] = bytes(block)


def flush(handle, flags):
    for number, block in cache.items():
        os.pwrite(disk, block, number * BLOCK)
    cache.clear()
