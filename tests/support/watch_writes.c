/* Preloaded into a node under test: counts writes and syncs of its write-ahead log as they begin and end, in a file that
   outlives the process. Where more have begun than ended, the process died inside a batch. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t *marks;
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);

__attribute__((constructor)) static void begin(void) {
    real_write = dlsym(RTLD_NEXT, "write");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    const char *path = getenv("WATCH_WRITES");
    int fd = path ? open(path, O_RDWR | O_CREAT, 0600) : -1;
    if (fd < 0 || ftruncate(fd, 16) != 0)
        return;
    void *at = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED)
        marks = at;
    close(fd);
}

static int is_log(int fd) {
    char link[64], path[4096];
    if (!marks)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    return n > 4 && memcmp(path + n - 4, ".log", 4) == 0;
}

#define COUNTED(result, call)                                  \
    do {                                                       \
        int counted = is_log(fd);                              \
        if (counted)                                           \
            __atomic_add_fetch(&marks[0], 1, __ATOMIC_SEQ_CST); \
        result = call;                                         \
        if (counted)                                           \
            __atomic_add_fetch(&marks[1], 1, __ATOMIC_SEQ_CST); \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t len) {
    ssize_t result;
    COUNTED(result, real_write(fd, bytes, len));
    return result;
}

int fdatasync(int fd) {
    int result;
    COUNTED(result, real_fdatasync(fd));
    return result;
}

int fsync(int fd) {
    int result;
    COUNTED(result, real_fsync(fd));
    return result;
}
