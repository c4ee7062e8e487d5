/*
 * Loaded into a node by LD_PRELOAD: while the file NO_WRITES_FLAG is there, files below NO_WRITES_DIR cannot be written,
 * synced, cut or made. The calls fail with EROFS, as those of a file system do that went read-only after an error of its
 * disk; what is open stays open and can be read.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(type, name, ...) \
  static type (*real)(__VA_ARGS__); \
  if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static int is_below(const char *path) {
  const char *dir = getenv("NO_WRITES_DIR");
  const char *flag = getenv("NO_WRITES_FLAG");
  return dir && flag && path && strncmp(path, dir, strlen(dir)) == 0 && access(flag, F_OK) == 0;
}

static int is_refused(int fd) {
  if (fd <= 2) return 0;
  char link[64], path[PATH_MAX];
  int before = errno;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t bytes = readlink(link, path, sizeof path - 1);
  errno = before;
  if (bytes <= 0) return 0;
  path[bytes] = 0;
  int refused = is_below(path);
  errno = refused ? EROFS : before;
  return refused;
}

#define REFUSING(type, name, declared, passed, ...) \
  type name declared { \
    REAL(type, name, __VA_ARGS__); \
    return is_refused(fd) ? -1 : real passed; \
  }

REFUSING(ssize_t, write, (int fd, const void *data, size_t n), (fd, data, n), int, const void *, size_t)
REFUSING(ssize_t, pwrite, (int fd, const void *data, size_t n, off_t at), (fd, data, n, at), int, const void *, size_t, off_t)
REFUSING(ssize_t, pwrite64, (int fd, const void *data, size_t n, off64_t at), (fd, data, n, at), int, const void *, size_t, off64_t)
REFUSING(int, ftruncate, (int fd, off_t size), (fd, size), int, off_t)
REFUSING(int, ftruncate64, (int fd, off64_t size), (fd, size), int, off64_t)
REFUSING(int, fsync, (int fd), (fd), int)
REFUSING(int, fdatasync, (int fd), (fd), int)

static int refuses_open(const char *path, int flags) {
  int wants = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
  if (!wants || !is_below(path)) return 0;
  errno = EROFS;
  return 1;
}

#define OPENING(name) \
  int name(const char *path, int flags, ...) { \
    REAL(int, name, const char *, int, ...); \
    mode_t mode = 0; \
    if (flags & O_CREAT) { \
      va_list rest; \
      va_start(rest, flags); \
      mode = va_arg(rest, mode_t); \
      va_end(rest); \
    } \
    return refuses_open(path, flags) ? -1 : real(path, flags, mode); \
  }

OPENING(open)
OPENING(open64)
