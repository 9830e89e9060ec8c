/* Adds SLOWSYNC_US microseconds to every fsync and fdatasync of a process: a disk as users have it. LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static int slowly(const char *name, int fd)
{
    const char *asked = getenv("SLOWSYNC_US");
    long us = asked ? atol(asked) : 0;
    struct timespec pause = {us / 1000000, us % 1000000 * 1000};
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    nanosleep(&pause, 0);
    return real(fd);
}

int fsync(int fd) { return slowly("fsync", fd); }
int fdatasync(int fd) { return slowly("fdatasync", fd); }
