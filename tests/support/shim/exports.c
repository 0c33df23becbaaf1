/* The names that programs call, in front of libc's. What they do is in unsynced.c. */
#include "unsynced.h"

#include <stdarg.h>

#pragma GCC visibility push(default)

#define MODE(mode, last)                                                                             \
    mode_t mode = 0;                                                                                 \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                             \
        va_list list;                                                                                \
        va_start(list, last);                                                                        \
        mode = va_arg(list, mode_t);                                                                 \
        va_end(list);                                                                                \
    }

int open(const char *path, int flags, ...) { MODE(m, flags) return open_any(AT_FDCWD, path, flags, m); }
int open64(const char *path, int flags, ...) { MODE(m, flags) return open_any(AT_FDCWD, path, flags, m); }
int openat(int d, const char *path, int flags, ...) { MODE(m, flags) return open_any(d, path, flags, m); }
int openat64(int d, const char *path, int flags, ...) { MODE(m, flags) return open_any(d, path, flags, m); }
int creat(const char *p, mode_t m) { return open_any(AT_FDCWD, p, O_CREAT | O_WRONLY | O_TRUNC, m); }
int creat64(const char *p, mode_t m) { return open_any(AT_FDCWD, p, O_CREAT | O_WRONLY | O_TRUNC, m); }

static ssize_t write_positioned(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
    char path[PATH_MAX];
    struct stat st;
    if (!watched(fd, path, &st))
        return syscall(SYS_pwritev2, fd, iov, count, at, 0, flags);
    return write_watched(fd, iov, count, at, flags, path);
}

static ssize_t write_next(int fd, const struct iovec *iov, int count)
{
    char path[PATH_MAX];
    struct stat st;
    if (watched(fd, path, &st))
        return write_watched(fd, iov, count, -1, 0, path);
    trace_send(fd, iov, count);
    return syscall(SYS_writev, fd, iov, count);
}

#define ONE(buffer, length) (&(struct iovec){(void *)(buffer), (length)})

ssize_t write(int fd, const void *b, size_t n) { return write_next(fd, ONE(b, n), 1); }
ssize_t writev(int fd, const struct iovec *v, int n) { return write_next(fd, v, n); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t at) { return write_positioned(fd, ONE(b, n), 1, at, 0); }
ssize_t pwrite64(int fd, const void *b, size_t n, off_t at) { return write_positioned(fd, ONE(b, n), 1, at, 0); }
ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at) { return write_positioned(fd, v, n, at, 0); }
ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t at) { return write_positioned(fd, v, n, at, 0); }
ssize_t pwritev2(int fd, const struct iovec *v, int n, off_t at, int f) { return write_positioned(fd, v, n, at, f); }
ssize_t pwritev64v2(int fd, const struct iovec *v, int n, off_t at, int f) { return write_positioned(fd, v, n, at, f); }

int ftruncate(int fd, off_t size) { return truncate_fd(fd, size); }
int ftruncate64(int fd, off_t size) { return truncate_fd(fd, size); }
int truncate(const char *path, off_t size)
{
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int done = truncate_fd(fd, size), e = errno;
    syscall(SYS_close, fd);
    errno = e;
    return done;
}
int truncate64(const char *path, off_t size) { return truncate(path, size); }
int fallocate(int fd, int mode, off_t at, off_t n) { return allocate(fd, mode, at, n); }
int fallocate64(int fd, int mode, off_t at, off_t n) { return allocate(fd, mode, at, n); }
int posix_fallocate(int fd, off_t at, off_t n) { return allocate(fd, 0, at, n) < 0 ? errno : 0; }
int posix_fallocate64(int fd, off_t at, off_t n) { return allocate(fd, 0, at, n) < 0 ? errno : 0; }

int fsync(int fd) { return sync_fd(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_fd(fd, SYS_fdatasync); }

int mkdir(const char *path, mode_t mode) { return mkdir_any(AT_FDCWD, path, mode); }
int mkdirat(int dir, const char *path, mode_t mode) { return mkdir_any(dir, path, mode); }
int rmdir(const char *path) { return unlink_any(AT_FDCWD, path, AT_REMOVEDIR); }
int unlink(const char *path) { return unlink_any(AT_FDCWD, path, 0); }
int unlinkat(int dir, const char *path, int flags) { return unlink_any(dir, path, flags); }
int link(const char *a, const char *b) { return link_any(AT_FDCWD, a, AT_FDCWD, b, 0); }
int linkat(int x, const char *a, int y, const char *b, int flags) { return link_any(x, a, y, b, flags); }
int rename(const char *a, const char *b) { return rename_any(AT_FDCWD, a, AT_FDCWD, b, 0); }
int renameat(int x, const char *a, int y, const char *b) { return rename_any(x, a, y, b, 0); }
int renameat2(int x, const char *a, int y, const char *b, unsigned f) { return rename_any(x, a, y, b, f); }

ssize_t send(int fd, const void *b, size_t n, int flags)
{
    trace_send(fd, ONE(b, n), 1);
    return syscall(SYS_sendto, fd, b, n, flags, NULL, 0);
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    trace_send(fd, message->msg_iov, message->msg_iovlen);
    return syscall(SYS_sendmsg, fd, message, flags);
}

/* Refused with the error after which callers copy with read and write. */
ssize_t copy_file_range(int in, off64_t *at, int out, off64_t *to, size_t n, unsigned flags)
{
    char path[PATH_MAX];
    struct stat st;
    if (watched(out, path, &st))
        return errno = EINVAL, -1;
    return syscall(SYS_copy_file_range, in, at, out, to, n, flags);
}
ssize_t sendfile(int out, int in, off_t *at, size_t n)
{
    char path[PATH_MAX];
    struct stat st;
    if (watched(out, path, &st))
        return errno = EINVAL, -1;
    return syscall(SYS_sendfile, out, in, at, n);
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t n) { return sendfile(out, in, at, n); }
