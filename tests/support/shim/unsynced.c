/*
 * unsynced: remembers what a process wrote and never synced, so that a test can take it away.
 *
 * Killing a process leaves the page cache as it was, so a program that never syncs passes every
 * test that only kills. This library is loaded into the process under test with LD_PRELOAD. Before
 * a file below the watched directory changes, what is needed to take the change back goes into a
 * journal outside that directory; when a sync has returned, that goes there too, before the caller
 * hears of it. After a kill the test takes back whatever no sync covers (tests/support/rewind.rs
 * decides what that is; this file only records). exports.c has the names that programs call.
 *
 * A kill at any instant is safe: an entry is one write(2) made before its change, so the journal
 * may know of a change that was not made (taking it back is harmless), never the other way round.
 *
 * Environment
 *   UNSYNCED_ROOT   the watched directory, an absolute path without symbolic links
 *   UNSYNCED_STATE  a directory outside of it, on the same file system: journal, graves/, control
 *   UNSYNCED_TRACE  if set, bytes that leave on TCP sockets are recorded as well
 *
 * Faults are lines of the file `control`, read again at every operation; a changed text starts the
 * counting anew.
 *   fail-sync N TEXT    the next N syncs of paths that contain TEXT fail with EIO
 *   delay-sync MS TEXT  syncs of such paths take so much longer
 *   full-after BYTES    the disk has room for so many more bytes, then ENOSPC (0: full now)
 *   kill-after N        the process kills itself before the change that follows the next N records
 *
 * Covered: write, pwrite, writev, pwritev, pwritev2, open and creat (creation, O_TRUNC), truncate,
 * ftruncate, fallocate, posix_fallocate, fsync, fdatasync, O_SYNC, O_DSYNC, RWF_SYNC, RWF_DSYNC,
 * rename, link, unlink, mkdir, rmdir, their *at forms and their 64-bit names.
 * close and dup need no wrapper: whether a descriptor is watched is asked of the kernel each time.
 *
 * Not covered
 *   - mmap, aio, io_uring, and libc's own inner calls (fopen, remove).
 *   - System calls that do not go through libc. The crate rustix makes such; tempfile's persist()
 *     renames that way. A change of names made so counts as durable at once.
 *   - sync_file_range, sync, syncfs, msync promise nothing here and are not looked at.
 *   - copy_file_range, sendfile into, and exchanging or moving names across the border of, the
 *     watched directory are refused, so that a caller falls back or fails loudly.
 *   - A full disk is about growth: new files, directories and bytes beyond a file's end fail;
 *     overwriting does not. Holes count as allocated.
 *   - Several processes may use one journal one after the other, not at the same time.
 */
#include "unsynced.h"

#include <linux/falloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define IOVS 1024

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX], state[PATH_MAX];
static size_t root_length;
static int journal = -1, tracing;
/* All below is used with the mutex held. */
static uint64_t last_seq;
static char scratch[SCRATCH];
static char control[4096];
static uint64_t syncs_failed, bytes_grown, changes;

static void die(const char *what)
{
    dprintf(2, "unsynced: %s: %s\n", what, strerror(errno));
    abort();
}

__attribute__((constructor)) static void start(void)
{
    const char *r = getenv("UNSYNCED_ROOT"), *s = getenv("UNSYNCED_STATE");
    if (!r || !s)
        return;
    char path[PATH_MAX + 16];
    snprintf(state, sizeof state, "%s", s);
    snprintf(path, sizeof path, "%s/journal", s);
    journal = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (journal < 0)
        die(path);
    tracing = getenv("UNSYNCED_TRACE") != NULL;
    root_length = snprintf(root, sizeof root, "%s", r);
}

/* --- the journal --- */

static uint64_t stamp(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t ns = (uint64_t)now.tv_sec * 1000000000u + now.tv_nsec;
    last_seq = ns > last_seq ? ns : last_seq + 1;
    return last_seq;
}

static long fault(const char *name, const char **text);

static uint64_t put(struct entry e, const void *payload, size_t length)
{
    e.size = sizeof e + length;
    e.seq = stamp();
    struct iovec iov[2] = {{&e, sizeof e}, {(void *)payload, length}};
    if (syscall(SYS_writev, journal, iov, 2) != (long)e.size)
        die("cannot write the journal");
    const char *text;
    long limit = fault("kill-after", &text);
    if (limit >= 0 && changes++ >= (uint64_t)limit)
        syscall(SYS_kill, getpid(), SIGKILL);
    return e.seq;
}

static uint64_t put_text(struct entry e, const char *text)
{
    return put(e, text, strlen(text) + 1);
}

static uint64_t put_texts(struct entry e, const char *x, const char *y, const char *z)
{
    char text[3 * PATH_MAX];
    size_t n = 0;
    for (int i = 0; i < 3; i++) {
        const char *s = i == 0 ? x : i == 1 ? y : z;
        size_t length = strlen(s) + 1;
        memcpy(text + n, s, length);
        n += length;
    }
    return put(e, text, n);
}

/* Takes an entry back whose operation failed. Keeps errno. */
static void cancel(uint64_t seq)
{
    int e = errno;
    put((struct entry){.kind = CANCEL, .a = seq}, NULL, 0);
    errno = e;
}

/* --- what is watched --- */

static int inside(const char *path)
{
    return root_length && strncmp(path, root, root_length) == 0 &&
           (path[root_length] == '/' || path[root_length] == 0);
}

int watched(int fd, char *path, struct stat *st)
{
    if (!root_length || fd < 0 || fd == journal)
        return 0;
    int e = errno;
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    int yes = 0;
    if (n > 0) {
        path[n] = 0;
        yes = inside(path) && fstat(fd, st) == 0 && (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode));
    }
    errno = e;
    return yes;
}

/* Whether a name lies below the root (it need not exist); then its full path and its parent. */
static int resolve(int dir, const char *name, char *full, uint64_t *parent)
{
    char path[2 * PATH_MAX], head[PATH_MAX];
    struct stat st;
    if (!root_length || !name || !*name || strlen(name) >= PATH_MAX)
        return 0;
    int e = errno, yes = 0;
    size_t n = 0;
    if (name[0] != '/' && dir != AT_FDCWD) {
        char link[32];
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        ssize_t got = readlink(link, path, PATH_MAX - 1);
        n = got > 0 ? (size_t)got : 0;
        path[n++] = '/';
    }
    strcpy(path + n, name);
    for (n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
        path[n - 1] = 0;
    char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    if (slash)
        *slash = 0;
    if (realpath(slash == path ? "/" : slash ? path : ".", head) && inside(head) && stat(head, &st) == 0 &&
        strlen(head) + strlen(base) + 2 <= PATH_MAX) {
        strcpy(full, head);
        strcat(full, "/");
        strcat(full, base);
        *parent = st.st_ino;
        yes = 1;
    }
    errno = e;
    return yes;
}

/* --- faults --- */

/* The argument of a line of `control`, with the text behind it; -1 if there is no such line. */
static long fault(const char *name, const char **text)
{
    char path[PATH_MAX + 16], now[sizeof control];
    snprintf(path, sizeof path, "%s/control", state);
    int e = errno;
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    ssize_t n = fd < 0 ? 0 : syscall(SYS_read, fd, now, sizeof now - 1);
    if (fd >= 0)
        syscall(SYS_close, fd);
    errno = e;
    now[n > 0 ? n : 0] = 0;
    if (strcmp(now, control) != 0) {
        strcpy(control, now);
        syncs_failed = bytes_grown = changes = 0;
    }
    size_t length = strlen(name);
    for (char *line = control; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        if (strncmp(line, name, length) == 0 && line[length] == ' ') {
            char *end;
            long value = strtol(line + length, &end, 10);
            *text = *end == ' ' ? end + 1 : "";
            return value;
        }
    }
    return -1;
}

/* Whether a path contains a text that ends with its line. */
static int contains(const char *path, const char *text)
{
    size_t length = strcspn(text, "\n");
    return length == 0 || memmem(path, strlen(path), text, length) != NULL;
}

/* How many of the bytes wanted beyond the ends of files there is room for. */
static uint64_t room(uint64_t wanted)
{
    const char *text;
    long limit = wanted == 0 ? -1 : fault("full-after", &text);
    if (limit < 0)
        return wanted;
    uint64_t left = (uint64_t)limit > bytes_grown ? (uint64_t)limit - bytes_grown : 0;
    return wanted < left ? wanted : left;
}

/* Refuses what needs new room on a full disk: one byte stands for a name. */
static int no_room(const char *path, uint64_t wanted)
{
    if (room(wanted) == wanted)
        return 0;
    put_text((struct entry){.kind = REFUSED, .c = ENOSPC}, path);
    errno = ENOSPC;
    return 1;
}

/* --- contents --- */

/* Saves the old bytes of a range. A descriptor that cannot read is opened a second time; one that
 * can is not, because closing the second would drop the process's POSIX locks on the file. */
static void save(int fd, uint64_t ino, off_t from, off_t to)
{
    int second = -1;
    while (from < to) {
        size_t want = to - from < SCRATCH ? to - from : SCRATCH;
        ssize_t n = syscall(SYS_pread64, second < 0 ? fd : second, scratch, want, from);
        if (n < 0 && errno == EBADF && second < 0) {
            char link[32];
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            if ((second = syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0)) < 0)
                die("cannot read what is to be overwritten");
            continue;
        }
        if (n < 0)
            die("cannot read what is to be overwritten");
        if (n == 0)
            break;
        int zero = scratch[0] == 0 && memcmp(scratch, scratch + 1, n - 1) == 0;
        put((struct entry){.kind = SAVED, .ino = ino, .a = from, .b = n}, scratch, zero ? 0 : n);
        from += n;
    }
    if (second >= 0)
        syscall(SYS_close, second);
}

ssize_t write_watched(int fd, const struct iovec *iov, int count, off_t at, int flags,
                             const char *path)
{
    struct iovec cut[IOVS];
    struct stat st;
    uint64_t length = 0, fits;
    int mode = fcntl(fd, F_GETFL);
    if (count < 0 || count > IOVS)
        return errno = EINVAL, -1;
    pthread_mutex_lock(&mutex);
    fstat(fd, &st);
    off_t from = mode & O_APPEND ? st.st_size : at >= 0 ? at : syscall(SYS_lseek, fd, 0, SEEK_CUR);
    for (int i = 0; i < count; i++)
        length += iov[i].iov_len;
    uint64_t inner = from < st.st_size ? st.st_size - from : 0;
    uint64_t grows = length > inner ? length - inner : 0;
    fits = length - grows + room(grows);
    if (fits == 0 && length > 0) {
        no_room(path, grows);
        pthread_mutex_unlock(&mutex);
        return -1;
    }
    int n = 0;
    for (uint64_t left = fits; n < count && left > 0; n++) {
        cut[n] = iov[n];
        cut[n].iov_len = iov[n].iov_len < left ? iov[n].iov_len : left;
        left -= cut[n].iov_len;
    }
    off_t end = from + fits < (uint64_t)st.st_size ? from + (off_t)fits : st.st_size;
    save(fd, st.st_ino, from, end);
    uint64_t seq = put_text(
        (struct entry){.kind = WRITE, .ino = st.st_ino, .a = from, .b = fits, .c = st.st_size}, path);
    ssize_t done = syscall(SYS_pwritev2, fd, cut, n, at, 0, flags);
    if (done < 0)
        cancel(seq);
    else if (grows > 0 && (uint64_t)done > length - grows)
        bytes_grown += done - (length - grows);
    if (done >= 0 && ((mode & (O_SYNC | O_DSYNC)) || (flags & (RWF_SYNC | RWF_DSYNC))))
        put_text((struct entry){.kind = SYNC, .ino = st.st_ino, .a = seq, .b = seq + 1}, path);
    pthread_mutex_unlock(&mutex);
    return done;
}

/* Changes a file's size; with the mutex held. */
static int resize(int fd, off_t size, const char *path)
{
    struct stat st;
    fstat(fd, &st);
    uint64_t grows = size > st.st_size ? size - st.st_size : 0;
    if (grows && no_room(path, grows))
        return -1;
    save(fd, st.st_ino, size, st.st_size);
    uint64_t seq =
        put_text((struct entry){.kind = RESIZE, .ino = st.st_ino, .a = size, .c = st.st_size}, path);
    int done = syscall(SYS_ftruncate, fd, size);
    if (done < 0)
        cancel(seq);
    else
        bytes_grown += grows;
    return done;
}

int truncate_fd(int fd, off_t size)
{
    char path[PATH_MAX];
    struct stat st;
    if (!watched(fd, path, &st))
        return syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&mutex);
    int done = resize(fd, size, path);
    pthread_mutex_unlock(&mutex);
    return done;
}

int allocate(int fd, int mode, off_t from, off_t length)
{
    char path[PATH_MAX];
    struct stat st;
    if (!watched(fd, path, &st))
        return syscall(SYS_fallocate, fd, mode, from, length);
    /* Collapsing and inserting move bytes; nobody needs them. */
    if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
        return errno = EOPNOTSUPP, -1;
    pthread_mutex_lock(&mutex);
    fstat(fd, &st);
    off_t end = from + length;
    uint64_t grows = !(mode & FALLOC_FL_KEEP_SIZE) && end > st.st_size ? end - st.st_size : 0;
    int done = -1;
    if (!grows || !no_room(path, grows)) {
        uint64_t first = 0, second = 0;
        if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
            off_t inner = end < st.st_size ? end : st.st_size;
            save(fd, st.st_ino, from, inner);
            if (inner > from)
                first = put_text((struct entry){.kind = WRITE, .ino = st.st_ino, .a = from,
                                                .b = inner - from, .c = st.st_size}, path);
        }
        if (grows)
            second = put_text((struct entry){.kind = RESIZE, .ino = st.st_ino, .a = end,
                                             .c = st.st_size}, path);
        done = syscall(SYS_fallocate, fd, mode, from, length);
        if (done < 0 && first)
            cancel(first);
        if (done < 0 && second)
            cancel(second);
        if (done == 0)
            bytes_grown += grows;
    }
    pthread_mutex_unlock(&mutex);
    return done;
}

/* What began before the sync is covered, what is written during it is not: the mutex is free then. */
int sync_fd(int fd, long call)
{
    char path[PATH_MAX];
    struct stat st;
    const char *text;
    if (!watched(fd, path, &st))
        return syscall(call, fd);
    pthread_mutex_lock(&mutex);
    uint64_t began = stamp();
    long delay = fault("delay-sync", &text);
    if (delay > 0 && !contains(path, text))
        delay = 0;
    long failures = fault("fail-sync", &text);
    int fails = failures > (long)syncs_failed && contains(path, text);
    syncs_failed += fails;
    pthread_mutex_unlock(&mutex);
    if (delay > 0)
        nanosleep(&(struct timespec){delay / 1000, delay % 1000 * 1000000}, NULL);
    int done = fails ? (errno = EIO, -1) : syscall(call, fd);
    int error = done < 0 ? errno : 0;
    pthread_mutex_lock(&mutex);
    put_text((struct entry){.kind = SYNC, .ino = st.st_ino, .b = began, .c = error}, path);
    pthread_mutex_unlock(&mutex);
    if (done < 0)
        errno = error;
    return done;
}

/* --- names --- */

/* Keeps a file that is about to lose its name. Its inode is not used again meanwhile. */
static void bury(const char *path, char *grave)
{
    int n = snprintf(grave, PATH_MAX, "%s/graves/%llu", state, (unsigned long long)stamp());
    if (n >= PATH_MAX)
        die("the path of the state is too long");
    if (syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, grave, 0) < 0)
        die("cannot keep a file that is removed");
}

static uint64_t put_creation(const char *path, uint64_t parent)
{
    return put_text((struct entry){.kind = CREATE, .a = parent}, path);
}

static void put_birth(const char *path, uint64_t creation)
{
    struct stat st;
    if (lstat(path, &st) == 0)
        put((struct entry){.kind = BORN, .ino = st.st_ino, .a = creation}, NULL, 0);
}

int open_any(int dir, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX];
    uint64_t parent, creation;
    struct stat st;
    if (!(flags & (O_CREAT | O_TRUNC)) || !resolve(dir, name, path, &parent))
        return syscall(SYS_openat, dir, name, flags, mode);
    pthread_mutex_lock(&mutex);
    int fd;
    if (lstat(path, &st) == 0) {
        int cuts = (flags & O_TRUNC) && S_ISREG(st.st_mode) && st.st_size > 0;
        fd = syscall(SYS_openat, dir, name, cuts ? flags & ~O_TRUNC : flags, mode);
        if (fd >= 0 && cuts && resize(fd, 0, path) < 0)
            die("cannot truncate while opening");
    } else if (!(flags & O_CREAT)) {
        fd = syscall(SYS_openat, dir, name, flags, mode);
    } else if (no_room(path, 1)) {
        fd = -1;
    } else {
        creation = put_creation(path, parent);
        fd = syscall(SYS_openat, dir, name, flags, mode);
        if (fd < 0)
            cancel(creation);
        else
            put_birth(path, creation);
    }
    pthread_mutex_unlock(&mutex);
    return fd;
}

int mkdir_any(int dir, const char *name, mode_t mode)
{
    char path[PATH_MAX];
    uint64_t parent;
    struct stat st;
    if (!resolve(dir, name, path, &parent) || lstat(path, &st) == 0)
        return syscall(SYS_mkdirat, dir, name, mode);
    pthread_mutex_lock(&mutex);
    int done = -1;
    if (!no_room(path, 1)) {
        uint64_t creation = put_creation(path, parent);
        done = syscall(SYS_mkdirat, dir, name, mode);
        if (done < 0)
            cancel(creation);
        else
            put_birth(path, creation);
    }
    pthread_mutex_unlock(&mutex);
    return done;
}

int link_any(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    char path[PATH_MAX];
    uint64_t parent;
    struct stat st;
    if (!resolve(to_dir, to, path, &parent) || fstatat(from_dir, from, &st, 0) < 0)
        return syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
    pthread_mutex_lock(&mutex);
    uint64_t seq = put_text((struct entry){.kind = CREATE, .ino = st.st_ino, .a = parent}, path);
    int done = syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
    if (done < 0)
        cancel(seq);
    pthread_mutex_unlock(&mutex);
    return done;
}

int unlink_any(int dir, const char *name, int flags)
{
    char path[PATH_MAX], grave[PATH_MAX] = "";
    uint64_t parent, seq;
    struct stat st;
    int removes_dir = flags & AT_REMOVEDIR;
    if (!resolve(dir, name, path, &parent))
        return syscall(SYS_unlinkat, dir, name, flags);
    pthread_mutex_lock(&mutex);
    /* What is bound to fail is left to the kernel to refuse. */
    if (lstat(path, &st) < 0 || !(removes_dir ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode))) {
        seq = 0;
    } else if (removes_dir) {
        seq = put_text((struct entry){.kind = RMDIR, .ino = st.st_ino, .a = parent}, path);
    } else {
        bury(path, grave);
        seq = put_texts((struct entry){.kind = UNLINK, .ino = st.st_ino, .a = parent}, path, grave, "");
    }
    int done = syscall(SYS_unlinkat, dir, name, flags);
    if (done < 0 && seq)
        cancel(seq);
    pthread_mutex_unlock(&mutex);
    return done;
}

int rename_any(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    char source[PATH_MAX], target[PATH_MAX], grave[PATH_MAX] = "";
    uint64_t old_parent, new_parent;
    struct stat st, replaced;
    int out = resolve(from_dir, from, source, &old_parent);
    int in = resolve(to_dir, to, target, &new_parent);
    if (!out && !in)
        return syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    if (!out || !in)
        return errno = EXDEV, -1;
    if (flags & ~RENAME_NOREPLACE)
        return errno = EINVAL, -1;
    pthread_mutex_lock(&mutex);
    int exists = lstat(target, &replaced) == 0;
    uint64_t seq = 0;
    if (lstat(source, &st) == 0 && !(exists && (flags || replaced.st_ino == st.st_ino))) {
        if (exists && S_ISREG(replaced.st_mode))
            bury(target, grave);
        seq = put_texts((struct entry){.kind = RENAME, .ino = st.st_ino, .a = old_parent, .b = new_parent},
                        source, target, grave);
    }
    int done = syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    if (done < 0 && seq)
        cancel(seq);
    pthread_mutex_unlock(&mutex);
    return done;
}

/* --- what leaves on TCP --- */

void trace_send(int fd, const struct iovec *iov, int count)
{
    int domain = 0, type = 0;
    socklen_t size = sizeof domain;
    if (!tracing)
        return;
    int e = errno;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
        (domain == AF_INET || domain == AF_INET6) &&
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM) {
        pthread_mutex_lock(&mutex);
        size_t n = 0, all = 0;
        for (int i = 0; i < count; i++) {
            size_t part = iov[i].iov_len < SCRATCH - n ? iov[i].iov_len : SCRATCH - n;
            memcpy(scratch + n, iov[i].iov_base, part);
            n += part;
            all += iov[i].iov_len;
        }
        put((struct entry){.kind = SEND, .a = fd, .b = all}, scratch, n);
        pthread_mutex_unlock(&mutex);
    }
    errno = e;
}
