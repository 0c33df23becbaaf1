/* The journal's format, and what exports.c needs of unsynced.c. */
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#if !defined(__linux__) || !defined(__LP64__)
#error "unsynced needs a 64-bit Linux"
#endif

/* At most so many bytes are saved in one entry, or recorded of one send. */
#define SCRATCH (1 << 20)

enum kind {
    SAVED = 1, /* ino, a offset, b length; payload: the old bytes, or none if all were zero */
    WRITE,     /* ino, a offset, b length, c old size; payload: path */
    RESIZE,    /* ino, a new size, c old size; payload: path */
    SYNC,      /* ino, covers entries with a <= seq < b, c errno; payload: path */
    CREATE,    /* ino (of a link, else 0), a parent; payload: path */
    BORN,      /* ino, a: seq of its CREATE */
    RENAME,    /* ino, a old parent, b new parent; payload: from, to, grave */
    UNLINK,    /* ino, a parent; payload: path, grave */
    RMDIR,     /* ino, a parent; payload: path */
    SEND,      /* a descriptor, b length; payload: the bytes, at most SCRATCH */
    CANCEL,    /* a: seq of an entry whose operation failed */
    REFUSED,   /* c errno: a fault was injected; payload: path */
};

/* The head of a journal entry. Strings in payloads end with NUL. `seq` is CLOCK_MONOTONIC in
 * nanoseconds, made strictly increasing. Parents and inodes are inode numbers. */
struct entry {
    uint32_t size; /* with the payload */
    uint32_t kind;
    uint64_t seq, ino, a, b, c;
};

/* Whether a descriptor is a file or directory below the root; then its path and state. */
int watched(int fd, char *path, struct stat *st);

/* All writes to watched files. `at` is -1 for the descriptor's own position. */
ssize_t write_watched(int fd, const struct iovec *iov, int count, off_t at, int flags, const char *path);

/* These do what their names say, recorded if the file or name is watched. */
int truncate_fd(int fd, off_t size);
int allocate(int fd, int mode, off_t from, off_t length);
int sync_fd(int fd, long call);
int open_any(int dir, const char *name, int flags, mode_t mode);
int mkdir_any(int dir, const char *name, mode_t mode);
int link_any(int from_dir, const char *from, int to_dir, const char *to, int flags);
int unlink_any(int dir, const char *name, int flags);
int rename_any(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);

/* Records bytes about to leave on a TCP socket; nothing for other descriptors. */
void trace_send(int fd, const struct iovec *iov, int count);
