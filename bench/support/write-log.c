/*
 * Loaded into a node by LD_PRELOAD: notes every page that is written to its database and write-ahead log. Appends to the
 * file WRITE_LOG records of two 32-bit numbers: 0 and the page of a frame of the log, 1 and the page of the database,
 * 2 and the bytes of anything else below WRITE_LOG_DIR.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define PAGE_BYTES 4096
#define FRAME_HEAD_BYTES 24

static int log_fd = -1;
static int is_writing_log;

static void note(uint32_t kind, uint32_t value) {
  uint32_t record[2] = {kind, value};
  if (log_fd < 0) log_fd = open(getenv("WRITE_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  is_writing_log = 1;
  if (write(log_fd, record, sizeof record) < 0) abort();
  is_writing_log = 0;
}

static void look(int fd, const unsigned char *data, size_t n, off_t at) {
  const char *dir = getenv("WRITE_LOG_DIR");
  if (!dir || is_writing_log || fd <= 2) return;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t bytes = readlink(link, path, sizeof path - 1);
  if (bytes <= 0) return;
  path[bytes] = 0;
  if (strncmp(path, dir, strlen(dir)) != 0) return;
  const char *name = strrchr(path, '/');
  if (name && strcmp(name, "/millrace.db") == 0) {
    for (off_t p = at; p < at + (off_t)n; p += PAGE_BYTES) note(1, p / PAGE_BYTES + 1);
  } else if (name && strcmp(name, "/millrace.db-wal") == 0) {
    if (n == FRAME_HEAD_BYTES)
      note(0, (uint32_t)data[0] << 24 | data[1] << 16 | data[2] << 8 | data[3]);
    else if (n != PAGE_BYTES)
      note(2, n);
  } else {
    note(2, n);
  }
}

#define REAL(type, name, ...) \
  static type (*real)(__VA_ARGS__); \
  if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

ssize_t pwrite(int fd, const void *data, size_t n, off_t at) {
  REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
  look(fd, data, n, at);
  return real(fd, data, n, at);
}
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) {
  REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
  look(fd, data, n, at);
  return real(fd, data, n, at);
}
