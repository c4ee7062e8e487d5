/*
 * Loaded into a node by LD_PRELOAD: writes down every change to files below POWER_DIR, in order, into the file
 * POWER_JOURNAL, and which of them were synced. At the change number POWER_CUT_AT the process kills itself. What a disk
 * without power would hold then is put together from the journal (power-loss.ts): synced data for sure, of the rest any
 * part. Syncs are not passed on: what this process sees is its own page cache either way.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, TRUNCATE, SYNC, CREATE, UNLINK, RENAME };
#define MAX_FDS 4096

struct record {
  uint32_t op;
  uint32_t path_bytes;
  uint64_t at;
  uint64_t data_bytes;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char *paths[MAX_FDS];
static int journal = -1;
static const char *root;
static size_t root_bytes;
static long left = -1;

__attribute__((constructor)) static void begin(void) {
  root = getenv("POWER_DIR");
  const char *file = getenv("POWER_JOURNAL");
  const char *cut = getenv("POWER_CUT_AT");
  if (!root || !file) return;
  root_bytes = strlen(root);
  journal = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (cut) left = atol(cut);
}

#define REAL(type, name, ...) \
  static type (*real)(__VA_ARGS__); \
  if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static int is_ours(const char *path) {
  if (journal < 0 || !path || strncmp(path, root, root_bytes) != 0) return 0;
  size_t bytes = strlen(path);
  /* The index of the log is memory shared between processes, and made anew after a loss of power. */
  return !(bytes > 4 && strcmp(path + bytes - 4, "-shm") == 0);
}

/* Under the mutex. A sync that the cut comes before is not written down: nobody was told of it. */
static void note(uint32_t op, const char *path, uint64_t at, const void *data, uint64_t bytes) {
  int is_cut = left > 0 && --left == 0;
  if (!(is_cut && op == SYNC)) {
    struct record head = {op, strlen(path), at, bytes};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)path, head.path_bytes}, {(void *)data, bytes}};
    syscall(SYS_writev, journal, parts, bytes ? 3 : 2);
  }
  if (is_cut) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
  }
}

static const char *path_of(int fd) { return fd >= 0 && fd < MAX_FDS ? paths[fd] : 0; }

static void opened(int fd, const char *path, int flags, int was_there) {
  if (fd < 0 || fd >= MAX_FDS) return;
  pthread_mutex_lock(&mutex);
  free(paths[fd]);
  paths[fd] = is_ours(path) ? strdup(path) : 0;
  if (paths[fd]) {
    if ((flags & O_CREAT) && !was_there) note(CREATE, path, 0, 0, 0);
    else if (flags & O_TRUNC) note(TRUNCATE, path, 0, 0, 0);
  }
  pthread_mutex_unlock(&mutex);
}

static int open_at(int dir, const char *path, int flags, mode_t mode) {
  struct stat found;
  int was_there = is_ours(path) ? stat(path, &found) == 0 : 1;
  int fd = syscall(SYS_openat, dir, path, flags, mode);
  opened(fd, path, flags, was_there);
  return fd;
}

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    return open_at(AT_FDCWD, path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
#define OPENAT(name) \
  int name(int dir, const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    return open_at(dir, path, flags, mode); \
  }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
  pthread_mutex_lock(&mutex);
  if (fd >= 0 && fd < MAX_FDS) { free(paths[fd]); paths[fd] = 0; }
  pthread_mutex_unlock(&mutex);
  return syscall(SYS_close, fd);
}

static ssize_t write_at(int fd, const void *data, size_t bytes, off_t at, int is_positioned) {
  pthread_mutex_lock(&mutex);
  const char *path = path_of(fd);
  if (path && !is_positioned) at = lseek(fd, 0, SEEK_CUR);
  ssize_t done = is_positioned ? syscall(SYS_pwrite64, fd, data, bytes, at) : syscall(SYS_write, fd, data, bytes);
  int saved = errno;
  if (path && done > 0) note(WRITE, path, at, data, done);
  pthread_mutex_unlock(&mutex);
  errno = saved;
  return done;
}

ssize_t write(int fd, const void *data, size_t bytes) {
  if (!path_of(fd)) return syscall(SYS_write, fd, data, bytes);
  return write_at(fd, data, bytes, 0, 0);
}
ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at) { return write_at(fd, data, bytes, at, 1); }
ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t at) { return write_at(fd, data, bytes, at, 1); }

static int truncate_to(int fd, off_t length) {
  pthread_mutex_lock(&mutex);
  int done = syscall(SYS_ftruncate, fd, length);
  int saved = errno;
  const char *path = path_of(fd);
  if (path && done == 0) note(TRUNCATE, path, length, 0, 0);
  pthread_mutex_unlock(&mutex);
  errno = saved;
  return done;
}
int ftruncate(int fd, off_t length) { return truncate_to(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncate_to(fd, length); }

static int synced(int fd) {
  pthread_mutex_lock(&mutex);
  const char *path = path_of(fd);
  if (path) note(SYNC, path, 0, 0, 0);
  pthread_mutex_unlock(&mutex);
  return 0;
}
int fsync(int fd) { return path_of(fd) ? synced(fd) : syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return path_of(fd) ? synced(fd) : syscall(SYS_fdatasync, fd); }

int unlink(const char *path) {
  pthread_mutex_lock(&mutex);
  int done = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
  int saved = errno;
  if (done == 0 && is_ours(path)) note(UNLINK, path, 0, 0, 0);
  pthread_mutex_unlock(&mutex);
  errno = saved;
  return done;
}

int rename(const char *from, const char *to) {
  pthread_mutex_lock(&mutex);
  int done = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
  int saved = errno;
  if (done == 0 && is_ours(from)) note(RENAME, from, 0, to, strlen(to));
  pthread_mutex_unlock(&mutex);
  errno = saved;
  return done;
}
