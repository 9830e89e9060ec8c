/* A disk that is watched, or that fails, for one process and those that it starts. LD_PRELOAD.

   PROOF_DISK_ROOT   what lies below is looked at, nothing else
   PROOF_DISK_LOG    every change of it is appended here, in the order in which it happened; a sync after it has returned
   PROOF_DISK_FAULT  a file of one byte, which may change at any time: 'E' syncs fail (EIO), 'R' read-only (EROFS),
                     'F' full (ENOSPC), anything else: all is well

   A record: op (1 byte), inode, offset or size (8 bytes each), length of name and of data (4 bytes each), name, data.
   One lock is held over each operation and its record, so that the log has one order. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 65536

static const char *root;
static size_t root_length;
static int log_fd = -1;
static volatile const char *fault;
static char watched[FDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void)
{
    const char *path;
    root = getenv("PROOF_DISK_ROOT");
    if (!root)
        return;
    root_length = strlen(root);
    if ((path = getenv("PROOF_DISK_LOG")))
        log_fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if ((path = getenv("PROOF_DISK_FAULT"))) {
        int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
        void *page = fd < 0 ? MAP_FAILED : mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
        fault = page == MAP_FAILED ? 0 : page;
        if (fd >= 0)
            syscall(SYS_close, fd);
    }
}

static int ends(const char *text, const char *end)
{
    size_t length = strlen(text), wanted = strlen(end);
    return length >= wanted && !strcmp(text + length - wanted, end);
}

/* What SQLite makes anew by itself, what is never kept, and what the hub can do without is not looked at. */
static int below(const char *path)
{
    return root && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]) &&
           !ends(path, "-shm") && !ends(path, ".lock") && !ends(path, ".sock") && !ends(path, "/ballast") &&
           !strstr(path, "/bindings/") && !strstr(path, "/spool");
}

static int absolute(int folder, const char *path, char *out)
{
    char link[64];
    ssize_t length;
    if (path[0] == '/')
        return snprintf(out, PATH_MAX, "%s", path) < PATH_MAX;
    if (folder == AT_FDCWD)
        snprintf(link, sizeof link, "/proc/self/cwd");
    else
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    if ((length = readlink(link, out, PATH_MAX - 1)) < 0)
        return 0;
    return length + snprintf(out + length, PATH_MAX - length, "/%s", path) < PATH_MAX;
}

static int name_of(int fd, char *out)
{
    char link[64];
    ssize_t length;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, out, PATH_MAX - 1);
    if (length < 0)
        return 0;
    out[length] = 0;
    return 1;
}

static uint64_t inode_of(int fd)
{
    struct stat found;
    return fstat(fd, &found) ? 0 : found.st_ino;
}

static void note(char op, uint64_t inode, int64_t at, const char *name, const void *data, size_t size)
{
    struct __attribute__((packed)) { char op; uint64_t inode; int64_t at; uint32_t name, data; } head = {
        op, inode, at, name ? strlen(name) : 0, size};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)(name ? name : ""), head.name}, {(void *)data, size}};
    if (log_fd >= 0)
        syscall(SYS_writev, log_fd, parts, 3);
}

static int failing(char which) { return fault && *fault == which; }

/* Why a change cannot be made now, or 0. */
static int refused(void) { return failing('R') ? EROFS : failing('F') ? ENOSPC : 0; }

static int no(int why)
{
    errno = why;
    return -1;
}

/* --- opening and closing */

static int opened(int folder, const char *path, int flags, mode_t mode)
{
    char name[PATH_MAX];
    int fd, mine = absolute(folder, path, name) && below(name) && (flags & O_TMPFILE) != O_TMPFILE;
    int writes = (flags & O_ACCMODE) != O_RDONLY;
    if (!mine)
        return syscall(SYS_openat, folder, path, flags, mode);
    if (writes && failing('R'))
        return no(EROFS);
    if ((flags & O_CREAT) && failing('F') && access(name, F_OK))
        return no(ENOSPC);
    pthread_mutex_lock(&lock);
    fd = syscall(SYS_openat, folder, path, flags, mode);
    if (fd >= 0 && fd < FDS && writes) {
        watched[fd] = 1;
        if (flags & O_CREAT)
            note('O', inode_of(fd), 0, name, 0, 0);
        if (flags & O_TRUNC)
            note('T', inode_of(fd), 0, 0, 0, 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

static mode_t mode_in(int flags, va_list more) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; }

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_in(flags, more);
    va_end(more);
    return opened(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_in(flags, more);
    va_end(more);
    return opened(AT_FDCWD, path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_in(flags, more);
    va_end(more);
    return opened(folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_in(flags, more);
    va_end(more);
    return opened(folder, path, flags, mode);
}

int close(int fd)
{
    if (fd >= 0 && fd < FDS)
        watched[fd] = 0;
    return syscall(SYS_close, fd);
}

/* --- contents */

static int is_watched(int fd) { return fd >= 0 && fd < FDS && watched[fd]; }

static ssize_t put(int fd, const void *data, size_t size, off_t at)
{
    pthread_mutex_lock(&lock);
    ssize_t done = at < 0 ? syscall(SYS_write, fd, data, size) : syscall(SYS_pwrite64, fd, data, size, at);
    int kept = errno;
    if (done > 0)
        note('W', inode_of(fd), at < 0 ? lseek(fd, 0, SEEK_CUR) - done : at, 0, data, done);
    errno = kept;
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *data, size_t size)
{
    if (!is_watched(fd))
        return syscall(SYS_write, fd, data, size);
    int why = refused();
    return why ? no(why) : put(fd, data, size, -1);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    if (!is_watched(fd))
        return syscall(SYS_pwrite64, fd, data, size, at);
    int why = refused();
    return why ? no(why) : put(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return pwrite(fd, data, size, at); }

int ftruncate(int fd, off_t size)
{
    int done;
    if (!is_watched(fd))
        return syscall(SYS_ftruncate, fd, size);
    if (failing('R'))
        return no(EROFS);
    pthread_mutex_lock(&lock);
    done = syscall(SYS_ftruncate, fd, size);
    if (!done)
        note('T', inode_of(fd), size, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

static int synced(int fd, long call)
{
    char name[PATH_MAX];
    int done;
    if (!name_of(fd, name) || !below(name))
        return syscall(call, fd);
    if (failing('E'))
        return no(EIO);
    pthread_mutex_lock(&lock);
    done = syscall(call, fd);
    if (!done)
        note('S', inode_of(fd), 0, name, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}
int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

/* --- names */

static int moved(int from, const char *old, int to, const char *fresh, unsigned flags)
{
    char before[PATH_MAX], after[PATH_MAX];
    int done;
    if (!absolute(from, old, before) || !absolute(to, fresh, after) || !below(after))
        return syscall(SYS_renameat2, from, old, to, fresh, flags);
    if (refused())
        return no(refused());
    pthread_mutex_lock(&lock);
    done = syscall(SYS_renameat2, from, old, to, fresh, flags);
    if (!done)
        note('R', 0, 0, before, after, strlen(after));
    pthread_mutex_unlock(&lock);
    return done;
}
int rename(const char *old, const char *fresh) { return moved(AT_FDCWD, old, AT_FDCWD, fresh, 0); }
int renameat(int from, const char *old, int to, const char *fresh) { return moved(from, old, to, fresh, 0); }

static int removed(int folder, const char *path, int flags)
{
    char name[PATH_MAX];
    int done;
    if (!absolute(folder, path, name) || !below(name))
        return syscall(SYS_unlinkat, folder, path, flags);
    if (failing('R'))
        return no(EROFS);
    pthread_mutex_lock(&lock);
    done = syscall(SYS_unlinkat, folder, path, flags);
    if (!done)
        note('U', 0, 0, name, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}
int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return removed(folder, path, flags); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }

static int made(int folder, const char *path, mode_t mode)
{
    char name[PATH_MAX];
    int done;
    if (!absolute(folder, path, name) || !below(name))
        return syscall(SYS_mkdirat, folder, path, mode);
    if (refused())
        return no(refused());
    pthread_mutex_lock(&lock);
    done = syscall(SYS_mkdirat, folder, path, mode);
    if (!done)
        note('M', 0, 0, name, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}
int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { return made(folder, path, mode); }
