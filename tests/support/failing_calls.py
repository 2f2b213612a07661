"""A library to preload whose system calls fail for files of a name, as those of a shared file system do for a moment.

With ``environment(folder, "read", ".json", errno.ESTALE, times=1)`` the first read of a file fails whose path contains
.json.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

COMPILER = shutil.which("cc")
_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int failed;

static int fails(const char *call, const char *path) {
    if (strcmp(call, getenv("FAILING_CALL")) || !strstr(path, getenv("FAILING_NAME"))) return 0;
    if (failed >= atoi(getenv("FAILING_TIMES"))) return 0;
    failed++;
    errno = atoi(getenv("FAILING_ERROR"));
    return 1;
}

static int descriptor_fails(const char *call, int descriptor) {
    char link[64], path[4096] = {0};
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    return readlink(link, path, sizeof path - 1) > 0 && fails(call, path);
}

int open64(const char *path, int flags, ...) {
    int (*next)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
    va_list arguments;
    va_start(arguments, flags);
    int mode = va_arg(arguments, int);
    va_end(arguments);
    return fails("open", path) ? -1 : next(path, flags, mode);
}

ssize_t read(int descriptor, void *buffer, size_t bytes) {
    ssize_t (*next)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
    return descriptor_fails("read", descriptor) ? -1 : next(descriptor, buffer, bytes);
}

ssize_t write(int descriptor, const void *buffer, size_t bytes) {
    ssize_t (*next)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    return descriptor_fails("write", descriptor) ? -1 : next(descriptor, buffer, bytes);
}

int fsync(int descriptor) {
    int (*next)(int) = dlsym(RTLD_NEXT, "fsync");
    return descriptor_fails("fsync", descriptor) ? -1 : next(descriptor);
}

int rename(const char *from, const char *to) {
    int (*next)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    return fails("rename", to) ? -1 : next(from, to);
}
"""


def environment(folder: Path, call: str, name: str, error: int, *, times: int) -> dict[str, str]:
    """Build the library in ``folder`` if it is not there; return the environment for a process to fail."""
    library = folder / "failing.so"
    if not library.exists():
        (folder / "failing.c").write_text(_SOURCE, "utf-8")
        subprocess.run([str(COMPILER), "-shared", "-fPIC", "-o", library, folder / "failing.c"], check=True)
    failing = {"CALL": call, "NAME": name, "ERROR": str(error), "TIMES": str(times)}
    return {**os.environ, "LD_PRELOAD": str(library), **{f"FAILING_{key}": text for key, text in failing.items()}}
