/*
 * Failures of the operating system, on order: loaded before libc, it kills the process at a chosen call, lets a chosen
 * call fail, or writes down what a process asks of its files.
 *
 *   FAULTS_CONTROL  a file of 64 KiB that is shared with the test: a number that changes with each order (4 bytes), how
 *                   often calls fitted (4 bytes), whether the order has been carried out (4 bytes); from byte 64 the
 *                   order: OP \t PATH \t DATA \t NTH \t ACTION \0. OP is a row of the table below; PATH and DATA are
 *                   parts of the file's name and of what is written or read, `*` fits all. ACTION: kill-before,
 *                   kill-after, or the number of an error with which that call and all later ones fail.
 *   FAULTS_TRACE    gets every change of files below FAULTS_ROOT in the order in which they were made, see trace.ts.
 *
 * Programs that the process starts do not load it, and a child that is about to become one is left alone: it may have
 * been forked while another thread had a lock of ours.
 */
#define _GNU_SOURCE
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CONTROL_BYTES = 65536, ORDER_AT = 64, NAME_BYTES = 4096 };

struct order {
  char op[16], path[512], data[512], action[32];
  uint32_t nth;
};

static pid_t self;
static volatile char *control;
static uint32_t known;
static struct order order;
static int active;
static int trace = -1;
static char root[NAME_BYTES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t tracing = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

#define NUMBER(at) (*(volatile uint32_t *)(control + (at)))

__attribute__((constructor)) static void begin(void) {
  self = getpid();
  const char *file = getenv("FAULTS_CONTROL");
  if (file) {
    int fd = syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC, 0);
    if (fd >= 0) {
      void *page = mmap(NULL, CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
      if (page != MAP_FAILED) control = page;
      syscall(SYS_close, fd);
    }
  }
  const char *to = getenv("FAULTS_TRACE"), *below = getenv("FAULTS_ROOT");
  if (to && below) {
    snprintf(root, sizeof root, "%s/", below);
    int fd = syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    /* Away from the numbers that the process hands to its children. */
    trace = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 200);
    if (fd >= 0) syscall(SYS_close, fd);
  }
  unsetenv("LD_PRELOAD");
  unsetenv("FAULTS_CONTROL");
  unsetenv("FAULTS_TRACE");
  unsetenv("FAULTS_ROOT");
}

static const char *name_of(int fd, char *buffer) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, buffer, NAME_BYTES - 1);
  buffer[length < 0 ? 0 : length] = 0;
  return buffer;
}

static void read_order(void) {
  uint32_t now = NUMBER(0);
  if (now == known) return;
  known = now;
  order = (struct order){0};
  char text[2048];
  for (size_t i = 0; i < sizeof text; i++) text[i] = control[ORDER_AT + i];
  text[sizeof text - 1] = 0;
  active = sscanf(text, "%15[^\t]\t%511[^\t]\t%511[^\t]\t%u\t%31s", order.op, order.path, order.data, &order.nth,
                  order.action) == 5;
}

static int fits(const char *pattern, const void *in, size_t bytes) {
  return strcmp(pattern, "*") == 0 || (in && memmem(in, bytes, pattern, strlen(pattern)));
}

static void end_here(void) {
  NUMBER(8) = 1;
  control[ORDER_AT] = 0;
  NUMBER(0) = known + 1;
  syscall(SYS_kill, getpid(), SIGKILL);
  for (;;) pause();
}

/* A signal's handler writes, too: it may come while its own thread judges. */
static __thread int judging;

/* 0: go on; 1: end after the call; otherwise minus the number of the error that the call has. */
static int judge(const char *op, const char *path, int fd, const struct iovec *parts, int count) {
  if (!control || judging || getpid() != self) return 0;
  judging = 1;
  pthread_mutex_lock(&lock);
  read_order();
  int verdict = 0;
  if (active && strcmp(op, order.op) == 0) {
    char buffer[NAME_BYTES];
    if (!path) path = name_of(fd, buffer);
    int found = strcmp(order.data, "*") == 0;
    for (int i = 0; i < count && !found; i++) found = fits(order.data, parts[i].iov_base, parts[i].iov_len);
    if (found && fits(order.path, path, strlen(path)) && ++NUMBER(4) >= order.nth) {
      if (strcmp(order.action, "kill-before") == 0) end_here();
      verdict = strcmp(order.action, "kill-after") == 0 ? 1 : -atoi(order.action);
      NUMBER(8) = 1;
    }
  }
  pthread_mutex_unlock(&lock);
  judging = 0;
  return verdict;
}

/* ── the trace ──────────────────────────────────────────────────────────────────────────────────────────────── */

static int is_traced(const char *path) {
  return trace >= 0 && strncmp(path, root, strlen(root)) == 0 && getpid() == self;
}

static void note(char op, const char *path, const char *other, int64_t at, const struct iovec *parts, int count,
                 size_t bytes) {
  uint32_t lengths[3] = {strlen(path), other ? strlen(other) : 0, bytes};
  struct iovec all[8 + 64] = {{&op, 1}, {lengths, sizeof lengths}, {&at, sizeof at}, {(char *)path, lengths[0]},
                              {(char *)(other ? other : ""), lengths[1]}};
  int used = 5;
  for (int i = 0; i < count && bytes > 0 && used < 72; i++) {
    size_t length = parts[i].iov_len < bytes ? parts[i].iov_len : bytes;
    all[used++] = (struct iovec){parts[i].iov_base, length};
    bytes -= length;
  }
  syscall(SYS_writev, trace, all, used);
}

#define TRACED(call, path, noted) \
  do { \
    if (!is_traced(path)) return call; \
    pthread_mutex_lock(&tracing); \
    __typeof__(call) result_ = call; \
    int errno_ = errno; \
    if (result_ >= 0) noted; \
    pthread_mutex_unlock(&tracing); \
    errno = errno_; \
    return result_; \
  } while (0)

#define JUDGED(type, op, path, fd, parts, count, call) \
  int verdict = judge(op, path, fd, parts, count); \
  if (verdict < 0) { errno = -verdict; return -1; } \
  type result = call; \
  if (verdict == 1) end_here(); \
  return result

/* ── writes ─────────────────────────────────────────────────────────────────────────────────────────────────── */

static ssize_t plain_writev(int fd, const struct iovec *parts, int count, int64_t at) {
  return at < 0 ? syscall(SYS_writev, fd, parts, count) : syscall(SYS_pwritev, fd, parts, count, at, 0);
}

static ssize_t traced_write(int fd, const struct iovec *parts, int count, int64_t at) {
  if (trace < 0) return plain_writev(fd, parts, count, at);
  char buffer[NAME_BYTES];
  name_of(fd, buffer);
  if (!is_traced(buffer)) return plain_writev(fd, parts, count, at);
  pthread_mutex_lock(&tracing);
  ssize_t result = plain_writev(fd, parts, count, at);
  int error = errno;
  if (result > 0) {
    if (at < 0) at = syscall(SYS_lseek, fd, 0, SEEK_CUR) - result;
    note('w', buffer, NULL, at, parts, count, result);
  }
  pthread_mutex_unlock(&tracing);
  errno = error;
  return result;
}

static ssize_t any_write(int fd, const struct iovec *parts, int count, int64_t at) {
  JUDGED(ssize_t, "write", NULL, fd, parts, count, traced_write(fd, parts, count, at));
}

ssize_t write(int fd, const void *data, size_t bytes) {
  struct iovec part = {(void *)data, bytes};
  return any_write(fd, &part, 1, -1);
}
ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at) {
  struct iovec part = {(void *)data, bytes};
  return any_write(fd, &part, 1, at);
}
ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t at) {
  struct iovec part = {(void *)data, bytes};
  return any_write(fd, &part, 1, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) { return any_write(fd, parts, count, -1); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return any_write(fd, parts, count, at); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) { return any_write(fd, parts, count, at); }

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  JUDGED(ssize_t, "write", NULL, fd, message->msg_iov, message->msg_iovlen, syscall(SYS_sendmsg, fd, message, flags));
}

/* What came is looked at before the process sees it. */
ssize_t read(int fd, void *data, size_t bytes) {
  ssize_t result = syscall(SYS_read, fd, data, bytes);
  if (control && result > 0) {
    int error = errno;
    struct iovec part = {data, result};
    if (judge("read", NULL, fd, &part, 1) == 1) end_here();
    errno = error;
  }
  return result;
}

/* ── files ──────────────────────────────────────────────────────────────────────────────────────────────────── */

static int traced_open(const char *path, int flags, mode_t mode) {
  int is_new = (flags & O_CREAT) && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
  if (!is_new && !(flags & O_TRUNC)) return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
  TRACED((int)syscall(SYS_openat, AT_FDCWD, path, flags, mode), path,
         note(is_new ? 'c' : 't', path, NULL, 0, NULL, 0, 0));
}

static int any_open(const char *path, int flags, mode_t mode) {
  JUDGED(int, "open", path, -1, NULL, 0, traced_open(path, flags, mode));
}

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    va_list rest; \
    va_start(rest, flags); \
    mode_t mode = va_arg(rest, mode_t); \
    va_end(rest); \
    return any_open(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

static int synced(int fd, int number) {
  char buffer[NAME_BYTES];
  name_of(fd, buffer);
  TRACED((int)syscall(number, fd), buffer, note('s', buffer, NULL, 0, NULL, 0, 0));
}
int fsync(int fd) { JUDGED(int, "sync", NULL, fd, NULL, 0, synced(fd, SYS_fsync)); }
int fdatasync(int fd) { JUDGED(int, "sync", NULL, fd, NULL, 0, synced(fd, SYS_fdatasync)); }

static int truncated(int fd, off64_t length) {
  char buffer[NAME_BYTES];
  name_of(fd, buffer);
  TRACED((int)syscall(SYS_ftruncate, fd, length), buffer, note('t', buffer, NULL, length, NULL, 0, 0));
}
int ftruncate(int fd, off_t length) { JUDGED(int, "truncate", NULL, fd, NULL, 0, truncated(fd, length)); }
int ftruncate64(int fd, off64_t length) { JUDGED(int, "truncate", NULL, fd, NULL, 0, truncated(fd, length)); }

static int renamed(const char *from, const char *to) {
  TRACED((int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to), to, note('r', from, to, 0, NULL, 0, 0));
}
int rename(const char *from, const char *to) { JUDGED(int, "rename", to, -1, NULL, 0, renamed(from, to)); }

static int unlinked(const char *path) {
  TRACED((int)syscall(SYS_unlinkat, AT_FDCWD, path, 0), path, note('u', path, NULL, 0, NULL, 0, 0));
}
int unlink(const char *path) { JUDGED(int, "unlink", path, -1, NULL, 0, unlinked(path)); }

static int made(const char *path, mode_t mode) {
  TRACED((int)syscall(SYS_mkdirat, AT_FDCWD, path, mode), path, note('m', path, NULL, 0, NULL, 0, 0));
}
int mkdir(const char *path, mode_t mode) { JUDGED(int, "mkdir", path, -1, NULL, 0, made(path, mode)); }
