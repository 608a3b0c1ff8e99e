/* Closes connections by code of a file that it maps, or of anonymous memory. Arguments: the file or "anonymous",
 * seconds, and "still", or "cut": it cuts the file short, and restores it, again and again. */
#define _GNU_SOURCE
#include <alloca.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* mov $3,%eax; syscall; ret: close() */
static const unsigned char code[] = {0xb8, 3, 0, 0, 0, 0x0f, 5, 0xc3};

static int listener;
static struct sockaddr_in address = {.sin_family = AF_INET};

static void must(int is_so, const char *what) {
    if (!is_so) { perror(what); exit(1); }
}
static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}
static void reset_one(long (*closes)(int)) {
    struct linger at_once = {1, 0};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(!connect(fd, (struct sockaddr *)&address, sizeof address), "connect");
    int other = accept(listener, 0, 0);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    closes(fd);
    close(other);
}
int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int is_cut = !strcmp(argv[3], "cut"), file = -1, events = -1;
    char *page;
    struct stat about = {0};
    if (strcmp(argv[1], "anonymous")) {
        file = open(argv[1], O_RDWR);
        must(file >= 0 && !fstat(file, &about), argv[1]);
        page = mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 4096);
    } else {
        page = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page != MAP_FAILED) memcpy(page, code, sizeof code);
    }
    must(page != MAP_FAILED, "mmap");
    if (is_cut) {
        events = inotify_init1(IN_NONBLOCK);
        must(inotify_add_watch(events, argv[1], IN_OPEN | IN_ACCESS) >= 0, "inotify");
    }
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    must(!bind(listener, (struct sockaddr *)&address, sizeof address), "bind");
    getsockname(listener, (struct sockaddr *)&address, &length);
    must(!listen(listener, 10), "listen");
    puts("mapped");
    fflush(stdout);
    getchar();
    double end = now() + atof(argv[2]);
    int delay = 0;
    for (int i = 0; now() < end; i++) {
        /* Another depth of the stack is another site. */
        volatile char *pad = alloca(i % 200 * 8 + 8);
        pad[0] = 1;
        reset_one((long (*)(int))page);
        struct pollfd waited = {events, POLLIN, 0};
        if (!is_cut || poll(&waited, 1, 50) < 1) { usleep(20000); continue; }
        usleep(delay);
        delay = (delay + 700) % 20000;
        must(!ftruncate(file, 0x2000), "cut");
        usleep(20000);
        must(!ftruncate(file, about.st_size), "restore");
        char buffer[4096];
        while (read(events, buffer, sizeof buffer) > 0) {}
    }
    puts("done");
    fflush(stdout);
    getchar();
    return 0;
}
