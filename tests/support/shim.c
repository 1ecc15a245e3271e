/* Preloaded into a node under test, beside numbers in a file that outlives the process (`shim.rs` names them). It counts what
   begins and what ends: writes and syncs of the write-ahead log, tables that are flushed, tables that are merged; where more
   have begun than ended, the process died inside. And as it is told there it makes syncs do nothing, or fail, and sets the
   clock wrong. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { LOG_BEGUN, LOG_ENDED, FLUSH_BEGUN, FLUSH_ENDED, MERGE_BEGUN, MERGE_ENDED, SYNCS, NO_SYNC, FAIL_KIND, FAIL_AFTER, FAILED,
       SYNCED_AFTER, CLOCK_S, CHANGES, DIE_AT, NUMBERS };
enum { NONE, LOG, TABLE, MANIFEST, SENT, OTHER };

#define FDS_MAX 65536
static uint64_t *numbers;
/* By file descriptor, where a table is being written: the number of what began. */
static unsigned char writing[FDS_MAX];

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define ADD(which) __atomic_add_fetch(&numbers[which], 1, __ATOMIC_SEQ_CST)
#define NUMBER(which) (numbers ? __atomic_load_n(&numbers[which], __ATOMIC_SEQ_CST) : 0)

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SHIM_NUMBERS");
    int fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0) : -1;
    if (fd < 0)
        return;
    void *at = mmap(NULL, NUMBERS * sizeof *numbers, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED)
        numbers = at;
    syscall(SYS_close, fd);
}

/* What follows is to change something on the disk. */
static void changes(void) {
    if (numbers && ADD(CHANGES) == NUMBER(DIE_AT))
        kill(getpid(), SIGKILL);
}

static int ends(const char *path, const char *ending) {
    size_t n = strlen(path), m = strlen(ending);
    return n >= m && memcmp(path + n - m, ending, m) == 0;
}

static int kind_of(int fd) {
    char link[64], path[4096];
    if (!numbers)
        return NONE;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0)
        return NONE;
    path[n] = 0;
    if (ends(path, ".log"))
        return LOG;
    if (ends(path, ".sst"))
        return TABLE;
    if (strstr(path, "/MANIFEST-"))
        return MANIFEST;
    return strstr(path, "/files") ? SENT : OTHER;
}

/* What is written by the threads that merge is merged; all else is flushed, also when a store is opened. */
static void opened(int fd, const char *path, int flags) {
    char name[32] = "";
    if (fd < 0 || fd >= FDS_MAX || !numbers || !(flags & O_CREAT) || !ends(path, ".sst"))
        return;
    prctl(PR_GET_NAME, name);
    writing[fd] = strncmp(name, "rocksdb:low", 11) == 0 ? MERGE_BEGUN : FLUSH_BEGUN;
    ADD(writing[fd]);
}

#define OPEN(name)                                                       \
    int name(const char *path, int flags, ...) {                         \
        static int (*real)(const char *, int, ...);                      \
        va_list rest;                                                    \
        va_start(rest, flags);                                           \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                    \
        if (!real)                                                       \
            real = REAL(name);                                           \
        if (flags & (O_CREAT | O_TRUNC))                                 \
            changes();                                                   \
        int fd = real(path, flags, mode);                                \
        opened(fd, path, flags);                                         \
        return fd;                                                       \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    static int (*real)(int);
    if (!real)
        real = REAL(close);
    if (numbers && fd >= 0 && fd < FDS_MAX && writing[fd]) {
        ADD(writing[fd] + 1);
        writing[fd] = 0;
    }
    return real(fd);
}

ssize_t write(int fd, const void *bytes, size_t len) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        real = REAL(write);
    int is_log = kind_of(fd) == LOG;
    changes();
    if (is_log)
        ADD(LOG_BEGUN);
    ssize_t result = real(fd, bytes, len);
    if (is_log)
        ADD(LOG_ENDED);
    return result;
}

/* Whether this sync is the one that fails. */
static int fails(int kind) {
    if (NUMBER(FAIL_KIND) != (uint64_t)kind)
        return 0;
    if (NUMBER(FAILED)) {
        ADD(SYNCED_AFTER);
        return 0;
    }
    if (__atomic_fetch_sub(&numbers[FAIL_AFTER], 1, __ATOMIC_SEQ_CST) != 0)
        return 0;
    ADD(FAILED);
    return 1;
}

static int synced(int fd, int (*real)(int)) {
    changes();
    int kind = kind_of(fd);
    if (kind == NONE)
        return real(fd);
    ADD(SYNCS);
    if (NUMBER(NO_SYNC))
        return 0;
    if (kind == LOG)
        ADD(LOG_BEGUN);
    int result = fails(kind) ? (errno = EIO, -1) : real(fd);
    if (kind == LOG)
        ADD(LOG_ENDED);
    return result;
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real)
        real = REAL(fdatasync);
    return synced(fd, real);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real)
        real = REAL(fsync);
    return synced(fd, real);
}

int sync_file_range(int fd, off64_t at, off64_t len, unsigned flags) {
    static int (*real)(int, off64_t, off64_t, unsigned);
    if (!real)
        real = REAL(sync_file_range);
    return NUMBER(NO_SYNC) ? 0 : real(fd, at, len, flags);
}

#define CHANGE(name, of, ...)              \
    int name of {                          \
        static int(*real) of;              \
        if (!real)                         \
            real = REAL(name);             \
        changes();                         \
        return real(__VA_ARGS__);          \
    }
CHANGE(rename, (const char *from, const char *to), from, to)
CHANGE(link, (const char *from, const char *to), from, to)
CHANGE(unlink, (const char *path), path)
CHANGE(unlinkat, (int folder, const char *path, int flags), folder, path, flags)
CHANGE(mkdir, (const char *path, mode_t mode), path, mode)
CHANGE(rmdir, (const char *path), path)
CHANGE(ftruncate, (int fd, off_t len), fd, len)
CHANGE(ftruncate64, (int fd, off64_t len), fd, len)

int clock_gettime(clockid_t which, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = REAL(clock_gettime);
    int result = real(which, at);
    if (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)
        at->tv_sec += (int64_t)NUMBER(CLOCK_S);
    return result;
}

int gettimeofday(struct timeval *at, void *zone) {
    static int (*real)(struct timeval *, void *);
    if (!real)
        real = (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
    int result = real(at, zone);
    at->tv_sec += (int64_t)NUMBER(CLOCK_S);
    return result;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

/* The kernel waits by its own clock. What is as small as the time since the start of the machine is no date. */
int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real)
        real = REAL(pthread_cond_timedwait);
    struct timespec at = *until;
    if (at.tv_sec > 300000000)
        at.tv_sec -= (int64_t)NUMBER(CLOCK_S);
    return real(cond, mutex, &at);
}
